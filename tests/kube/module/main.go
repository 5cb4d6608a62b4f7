// The programs of a Kubernetes control plane and kubectl in one binary, built from the released modules: PROGRAM [FLAG…].
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	manager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// The program that a name stands for; nil = it stands for none.
func program(name string) *cobra.Command {
	switch name {
	case "apiserver":
		return apiserver.NewAPIServerCommand()
	case "controller-manager":
		return manager.NewControllerManagerCommand()
	case "scheduler":
		return scheduler.NewSchedulerCommand()
	case "kubectl":
		return kubectl.NewDefaultKubectlCommand()
	}
	return nil
}

func main() {
	name := ""
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	// A program reads its own arguments when it is made.
	os.Args = append([]string{name}, os.Args[min(2, len(os.Args)):]...)
	command := program(name)
	if command == nil {
		fmt.Fprintln(os.Stderr, "name a program: apiserver, controller-manager, scheduler or kubectl")
		os.Exit(2)
	}
	os.Exit(cli.Run(command))
}
