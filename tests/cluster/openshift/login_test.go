package openshift

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

const (
	issuer   = "https://oauth.example"
	verifier = "0123456789012345678901234567890123456789012"
)

func newTestLogin() *login {
	return newLogin(newTokens(map[string]string{"alice": "p:ä ß"}, issuer+implicitPath))
}

func (l *login) do(t *testing.T, method, path, body string, change func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	request := httptest.NewRequest(method, path, strings.NewReader(body))
	request.Header.Set("X-CSRF-Token", "1")
	if body != "" {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	change(request)
	recorder := httptest.NewRecorder()
	l.ServeHTTP(recorder, request)
	return recorder
}

func (l *login) ask(t *testing.T, password string) *httptest.ResponseRecorder {
	hash := sha256.Sum256([]byte(verifier))
	query := url.Values{
		"client_id": {challengingClient}, "response_type": {"code"}, "code_challenge_method": {"S256"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(hash[:])},
	}
	return l.do(t, http.MethodGet, authorizePath+"?"+query.Encode(), "", func(r *http.Request) { r.SetBasicAuth("alice", password) })
}

func TestAPasswordBecomesATokenWhoseNameIsItsHash(t *testing.T) {
	l := newTestLogin()
	back, err := l.ask(t, "p:ä ß").Result().Location()
	if err != nil {
		t.Fatal(err)
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "code_verifier": {verifier}}.Encode()
	redeem := func() *httptest.ResponseRecorder {
		return l.do(t, http.MethodPost, tokenPath, form, func(r *http.Request) { r.SetBasicAuth(challengingClient, "") })
	}
	var granted struct {
		Token   string `json:"access_token"`
		Expires int    `json:"expires_in"`
	}
	answer := redeem()
	if err := json.Unmarshal(answer.Body.Bytes(), &granted); err != nil || answer.Code != http.StatusOK {
		t.Fatal(answer.Code, answer.Body, err)
	}
	if len(granted.Token) != 50 || granted.Expires != tokenLifetime {
		t.Fatal(granted.Expires, len(granted.Token))
	}
	found := l.tokens.find(objectName(granted.Token))
	if found == nil || found.user != "alice" || l.tokens.find(granted.Token) != nil {
		t.Fatal("the token is not there by its name, or is by itself")
	}
	if again := redeem(); again.Code != http.StatusBadRequest {
		t.Fatal("a code counts twice: ", again.Code)
	}
}

func TestAWrongPasswordLooksLikeNone(t *testing.T) {
	for _, password := range []string{"wrong", ""} {
		answer := newTestLogin().ask(t, password)
		if answer.Code != http.StatusUnauthorized || answer.Header().Get("WWW-Authenticate") != `Basic realm="openshift"` || answer.Body.Len() > 0 {
			t.Fatal(password, answer.Code, answer.Header(), answer.Body)
		}
	}
}
