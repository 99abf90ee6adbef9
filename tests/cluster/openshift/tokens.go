// Package openshift is OpenShift's login in front of the upstream API server:
// an OAuth server on the engine that OpenShift's own is made of, the API groups
// of its tokens and users behind the API server's aggregator, and the webhook by
// which the API server asks whom a token is of.
//
// What is stored is in memory, and there are no pages for a browser.
package openshift

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/openshift/osin"
	"k8s.io/apimachinery/pkg/util/uuid"
)

// tokenPrefix says how a token's object is named: by this hash of the rest.
const tokenPrefix = "sha256~"

// challengingClient is the client that logs in by a password. It has no secret.
const challengingClient = "openshift-challenging-client"

// accessToken is what the cluster knows of a token. The token itself is not in it.
type accessToken struct {
	name, uid, user, client, redirectURI string
	scopes                               []string
	made                                 time.Time
	lifetime                             time.Duration
}

// expired says whether a token is over. One without a lifetime never is.
func (t *accessToken) expired() bool {
	return t.lifetime > 0 && time.Now().After(t.made.Add(t.lifetime))
}

// tokens are the users who can log in, and what they have got. It is the engine's storage.
type tokens struct {
	passwords map[string]string
	client    osin.Client

	mu     sync.Mutex
	uids   map[string]string
	codes  map[string]*osin.AuthorizeData
	access map[string]*accessToken
}

func newTokens(passwords map[string]string, redirectURI string) *tokens {
	return &tokens{
		passwords: passwords,
		client:    &osin.DefaultClient{Id: challengingClient, RedirectUri: redirectURI},
		uids:      map[string]string{},
		codes:     map[string]*osin.AuthorizeData{},
		access:    map[string]*accessToken{},
	}
}

// objectName is the name of the object of a token or code.
func objectName(token string) string {
	hash := sha256.Sum256([]byte(strings.TrimPrefix(token, tokenPrefix)))
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(hash[:])
}

// randomToken is a new token or code. None begins with a dash, which a shell's user would mistake for a flag.
func randomToken() string {
	for {
		random := make([]byte, 32)
		// It never fails: Go ends the process where there is no randomness.
		rand.Read(random)
		if text := base64.RawURLEncoding.EncodeToString(random); text[0] != '-' {
			return tokenPrefix + text
		}
	}
}

// knows says whether the password is the user's, whose object it makes at the first time.
func (t *tokens) knows(user, password string) bool {
	want, found := t.passwords[user]
	if !found || password == "" || subtle.ConstantTimeCompare([]byte(want), []byte(password)) != 1 {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.uids[user] == "" {
		t.uids[user] = string(uuid.NewUUID())
	}
	return true
}

// find is the token with this object name, if it is not over; those that are go.
func (t *tokens) find(name string) *accessToken {
	t.mu.Lock()
	defer t.mu.Unlock()
	found := t.access[name]
	if found != nil && found.expired() {
		delete(t.access, name)
		return nil
	}
	return found
}

// remove takes a token away and says whether it was still there.
func (t *tokens) remove(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, found := t.access[name]
	delete(t.access, name)
	return found
}

func (t *tokens) uid(user string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.uids[user]
}

// What the engine asks of its storage.

func (t *tokens) Clone() osin.Storage { return t }

func (t *tokens) Close() {}

func (t *tokens) GetClient(id string) (osin.Client, error) {
	if id == t.client.GetId() {
		return t.client, nil
	}
	return nil, nil
}

func (t *tokens) SaveAuthorize(data *osin.AuthorizeData) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.codes[objectName(data.Code)] = data
	return nil
}

func (t *tokens) LoadAuthorize(code string) (*osin.AuthorizeData, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.codes[objectName(code)], nil
}

func (t *tokens) RemoveAuthorize(code string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.codes, objectName(code))
	return nil
}

func (t *tokens) SaveAccess(data *osin.AccessData) error {
	user, ok := data.UserData.(string)
	if !ok {
		return errors.New("a token of nobody")
	}
	made := &accessToken{
		name: objectName(data.AccessToken), uid: string(uuid.NewUUID()), user: user, client: data.Client.GetId(), redirectURI: data.RedirectUri,
		scopes: strings.Fields(data.Scope), made: time.Now(), lifetime: time.Duration(data.ExpiresIn) * time.Second,
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.access[made.name] = made
	return nil
}

func (t *tokens) LoadAccess(string) (*osin.AccessData, error) { return nil, osin.ErrNotFound }

func (t *tokens) RemoveAccess(string) error { return nil }

func (t *tokens) LoadRefresh(string) (*osin.AccessData, error) { return nil, osin.ErrNotFound }

func (t *tokens) RemoveRefresh(string) error { return nil }

// The engine's generators of codes and tokens.

func (t *tokens) GenerateAuthorizeToken(*osin.AuthorizeData) (string, error) {
	return randomToken(), nil
}

func (t *tokens) GenerateAccessToken(*osin.AccessData, bool) (string, string, error) {
	return randomToken(), "", nil
}
