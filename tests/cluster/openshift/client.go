package openshift

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/openshift/library-go/pkg/oauth/tokenrequest"
	"github.com/openshift/library-go/pkg/oauth/tokenrequest/challengehandlers"
	"k8s.io/client-go/rest"
)

// logIn is what `oc login` does, by the code that it does it with: the password comes by standard input, the token goes to standard output.
func logIn(server, ca, user string) error {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	config := &rest.Config{Host: server, TLSClientConfig: rest.TLSClientConfig{CAFile: ca}}
	password := strings.TrimSuffix(string(text), "\n")
	handler := challengehandlers.NewBasicChallengeHandler(server, "", strings.NewReader(""), os.Stderr, nil, user, password)
	token, err := tokenrequest.RequestTokenWithChallengeHandlers(config, handler)
	if err != nil {
		return err
	}
	_, err = fmt.Println(token)
	return err
}
