// The etcd server, for tests. The upstream module cannot be installed by name (its go.mod holds replace directives),
// so this module depends on it and calls its entry point.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"go.etcd.io/etcd/server/v3/storage/wal"
)

// A node preallocates two segments of its log; with 64 MiB each, a dozen throw-away nodes would fill a small disk.
const segmentBytes = 4 * 1024 * 1024

func main() {
	wal.SegmentSizeBytes = segmentBytes
	etcdmain.Main(os.Args)
}
