package openshift

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/openshift/library-go/pkg/authorization/scopemetadata"
	"github.com/openshift/osin"
)

const (
	authorizePath = "/oauth/authorize"
	tokenPath     = "/oauth/token"
	implicitPath  = "/oauth/token/implicit"
	codeLifetime  = 300
	tokenLifetime = 24 * 60 * 60
	fullScope     = "user:full"
	// neverCached is what OpenShift's server says of each of its answers.
	neverCached = "no-cache, no-store, max-age=0, must-revalidate"
)

// login is the OAuth server.
type login struct {
	tokens *tokens
	engine *osin.Server
}

func newLogin(t *tokens) *login {
	config := osin.NewServerConfig()
	config.AllowedAuthorizeTypes = osin.AllowedAuthorizeType{osin.CODE, osin.TOKEN}
	config.AllowedAccessTypes = osin.AllowedAccessType{osin.AUTHORIZATION_CODE, osin.PASSWORD, osin.CLIENT_CREDENTIALS}
	config.AuthorizationExpiration = codeLifetime
	config.AccessExpiration = tokenLifetime
	config.AllowClientSecretInParams = true
	config.AllowGetAccessRequest = true
	config.ErrorStatusCode = http.StatusBadRequest
	engine := osin.NewServer(config, t)
	engine.AuthorizeTokenGen, engine.AccessTokenGen = t, t
	return &login{tokens: t, engine: engine}
}

func (l *login) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", neverCached)
	switch r.URL.Path {
	case "/healthz":
		fmt.Fprint(w, "ok")
	case authorizePath:
		l.authorize(w, r)
	case tokenPath:
		l.token(w, r)
	default:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
	}
}

// authorize takes a password and leads back with a code, or at once with a token.
func (l *login) authorize(w http.ResponseWriter, r *http.Request) {
	response := l.engine.NewResponse()
	defer response.Close()
	request := l.engine.HandleAuthorizeRequest(response, r)
	if request == nil {
		osin.OutputJSON(response, w, r)
		return
	}
	user, password, shown := r.BasicAuth()
	if !shown || !l.tokens.knows(user, password) {
		challenge(w, r)
		return
	}
	if request.Scope == "" {
		request.Scope = fullScope
	}
	if wrong := scopemetadata.ValidateScopes(strings.Fields(request.Scope), nil); len(wrong) > 0 {
		response.SetErrorState("invalid_scope", wrong.ToAggregate().Error(), request.State)
		response.SetRedirect(request.RedirectUri)
	} else {
		request.Authorized, request.UserData = true, user
		if request.Type == osin.TOKEN {
			request.Expiration = tokenLifetime
		}
		l.engine.FinishAuthorizeRequest(response, r, request)
	}
	osin.OutputJSON(response, w, r)
}

// challenge asks for a password. It looks the same whether there was none or a wrong one.
func challenge(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-CSRF-Token") != "" {
		w.Header().Set("WWW-Authenticate", `Basic realm="openshift"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	const why = "A non-empty X-CSRF-Token header is required to receive basic-auth challenges"
	w.Header().Set("Warning", `199 Origin "`+why+`"`)
	w.WriteHeader(http.StatusUnauthorized)
	fmt.Fprintln(w, why)
}

// token takes a code and gives a token.
func (l *login) token(w http.ResponseWriter, r *http.Request) {
	response := l.engine.NewResponse()
	defer response.Close()
	if request := l.engine.HandleAccessRequest(response, r); request != nil {
		request.Authorized = request.Type == osin.AUTHORIZATION_CODE
		request.Expiration = tokenLifetime
		l.engine.FinishAccessRequest(response, r, request)
	}
	osin.OutputJSON(response, w, r)
}

// metadata is what the API server tells of this server: RFC 8414.
func metadata(issuer string) map[string]any {
	return map[string]any{
		"issuer":                           issuer,
		"authorization_endpoint":           issuer + authorizePath,
		"token_endpoint":                   issuer + tokenPath,
		"scopes_supported":                 []string{"user:check-access", fullScope, "user:info", "user:list-projects", "user:list-scoped-projects"},
		"response_types_supported":         []string{"code", "token"},
		"grant_types_supported":            []string{"authorization_code", "implicit"},
		"code_challenge_methods_supported": []string{"plain", "S256"},
	}
}
