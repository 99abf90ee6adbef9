// Two clients made with client-go, and the server before which all clients stand.
package main

import (
	"fmt"
	"os"
)

func main() {
	verbs := map[string]func([]string) error{"shorten": shorten, "client-go": requests, "informer": informer}
	if len(os.Args) < 2 || verbs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: clients shorten|client-go|informer")
		os.Exit(2)
	}
	if err := verbs[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
