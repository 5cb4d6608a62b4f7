// The command line of etcd, for tests and for people who look into a test's cluster.
package main

import "go.etcd.io/etcd/etcdctl/v3/ctlv3"

func main() {
	ctlv3.MustStart()
}
