package up

import (
	"fmt"
	"net"
	"testing"
)

func TestPortsAreDistinctAndFree(t *testing.T) {
	ports, err := freePorts(500)
	if err != nil {
		t.Fatal(err)
	}
	// So many that a port given twice would be among them, and then it cannot be bound twice.
	for _, port := range ports {
		l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
}

func TestTakenPortIsRecognised(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err = net.Listen("tcp4", l.Addr().String()); err == nil || !mentionsTakenPort(err.Error()) {
		t.Errorf("the system words it otherwise: %v", err)
	}
}
