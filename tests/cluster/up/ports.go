package up

import (
	"errors"
	"net"
	"strings"
)

// errPortTaken says that somebody else bound a port between our choosing it and
// the child's binding it. There is no way to hand an open listener to the
// upstream commands, so the only cure is another try.
var errPortTaken = errors.New("address already in use")

// freePorts returns n distinct free loopback TCP ports.
func freePorts(n int) ([]int, error) {
	ports := make([]int, 0, n)
	for range n {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		// All stay open until the last is chosen, or the kernel could give one twice.
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func mentionsTakenPort(log string) bool {
	return strings.Contains(log, errPortTaken.Error())
}
