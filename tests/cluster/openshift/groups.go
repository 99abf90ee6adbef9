package openshift

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	authentication "k8s.io/api/authentication/v1"
	authorization "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
)

const (
	oauthGroup = "oauth.openshift.io"
	userGroup  = "user.openshift.io"
	ownTokens  = "useroauthaccesstokens"
	allTokens  = "oauthaccesstokens"
	// Aggregator and Authenticator are the names in the certificates by which the API server
	// hands a request on, and asks whom a token is of.
	Aggregator    = "system:openshift-aggregator"
	Authenticator = "system:serviceaccount:openshift-oauth-apiserver:openshift-authenticator"
)

// groups are the two API groups, served to the API server alone.
type groups struct {
	tokens *tokens
	kube   kubernetes.Interface
}

func (g *groups) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	peer := ""
	if len(r.TLS.PeerCertificates) > 0 {
		peer = r.TLS.PeerCertificates[0].Subject.CommonName
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.URL.Path == "/readyz" || r.URL.Path == "/healthz":
		w.Write([]byte("ok"))
	case parts[0] != "apis" || len(parts) > 5:
		http.NotFound(w, r)
	case len(parts) < 4:
		discover(w, r, parts[1:])
	case peer == Authenticator && r.Method == http.MethodPost && parts[3] == "tokenreviews":
		g.review(w, r)
	case peer == Aggregator && len(parts) == 5:
		g.object(w, r, schema.GroupResource{Group: parts[1], Resource: parts[3]}, parts[4])
	case peer == Aggregator:
		http.NotFound(w, r)
	default:
		refuse(w, apierrors.NewUnauthorized("Unauthorized"))
	}
}

// verbs are those of the HTTP methods that are served here.
var verbs = map[string]string{http.MethodGet: "get", http.MethodDelete: "delete"}

// object answers about one object, for whom the API server says it is.
func (g *groups) object(w http.ResponseWriter, r *http.Request, resource schema.GroupResource, name string) {
	user, verb := r.Header.Get("X-Remote-User"), verbs[r.Method]
	may, err := g.may(r, resource, name, verb)
	if err != nil {
		refuse(w, apierrors.NewInternalError(err))
		return
	}
	if !may {
		why := errors.New(`User "` + user + `" cannot ` + verb + ` resource "` + resource.Resource + `" in API group "` + resource.Group + `" at the cluster scope`)
		refuse(w, apierrors.NewForbidden(resource, name, why))
		return
	}
	switch resource.Resource {
	case "users":
		g.user(w, r, user, name)
	case ownTokens, allTokens:
		g.token(w, r, resource, user, name)
	default:
		refuse(w, apierrors.NewNotFound(resource, name))
	}
}

// user is the one who asks: nobody asks for others here.
func (g *groups) user(w http.ResponseWriter, r *http.Request, user, name string) {
	if name != "~" || r.Method != http.MethodGet {
		refuse(w, apierrors.NewNotFound(schema.GroupResource{Group: userGroup, Resource: "users"}, name))
		return
	}
	about := map[string]any{"name": user}
	object := map[string]any{"kind": "User", "apiVersion": userGroup + "/v1", "metadata": about, "groups": r.Header.Values("X-Remote-Group")}
	if uid := g.tokens.uid(user); uid != "" {
		about["uid"] = uid
		object["identities"] = []string{"htpasswd:" + user}
	}
	answer(w, http.StatusOK, object)
}

func (g *groups) token(w http.ResponseWriter, r *http.Request, resource schema.GroupResource, user, name string) {
	found := g.tokens.find(name)
	if found == nil || resource.Resource == ownTokens && found.user != user {
		refuse(w, apierrors.NewNotFound(resource, name))
		return
	}
	// A deletion answers with the token itself and never with a Status, and with the same kind for both resources.
	kind := "OAuthAccessToken"
	if r.Method == http.MethodDelete {
		var options metav1.DeleteOptions
		// Without a body there are no options.
		_ = json.NewDecoder(r.Body).Decode(&options)
		if wanted := options.Preconditions; wanted != nil && wanted.UID != nil && string(*wanted.UID) != found.uid {
			why := errors.New("the UID in the precondition (" + string(*wanted.UID) + ") does not match the UID in record (" + found.uid + ")")
			refuse(w, apierrors.NewConflict(schema.GroupResource{Group: oauthGroup, Resource: kind}, name, why))
			return
		}
		if !g.tokens.remove(name) {
			refuse(w, apierrors.NewNotFound(resource, name))
			return
		}
	} else if resource.Resource == ownTokens {
		kind = "UserOAuthAccessToken"
	}
	object := map[string]any{
		"kind": kind, "apiVersion": oauthGroup + "/v1",
		"metadata": map[string]any{
			"name": found.name, "uid": found.uid, "resourceVersion": "1", "creationTimestamp": metav1.NewTime(found.made),
		},
		"clientName": found.client, "redirectURI": found.redirectURI, "scopes": found.scopes,
		"userName": found.user, "userUID": g.tokens.uid(found.user),
	}
	if found.lifetime > 0 {
		object["expiresIn"] = int64(found.lifetime.Seconds())
	}
	answer(w, http.StatusOK, object)
}

// may asks the API server, as OpenShift's does: its RBAC decides.
func (g *groups) may(r *http.Request, resource schema.GroupResource, name, verb string) (bool, error) {
	review := &authorization.SubjectAccessReview{Spec: authorization.SubjectAccessReviewSpec{
		User: r.Header.Get("X-Remote-User"), Groups: r.Header.Values("X-Remote-Group"),
		ResourceAttributes: &authorization.ResourceAttributes{Group: resource.Group, Version: "v1", Resource: resource.Resource, Name: name, Verb: verb},
	}}
	review, err := g.kube.AuthorizationV1().SubjectAccessReviews().Create(r.Context(), review, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}

// review says whom a token is of. Only the status goes back: the token stays here.
func (g *groups) review(w http.ResponseWriter, r *http.Request) {
	var review authentication.TokenReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		refuse(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	status := authentication.TokenReviewStatus{Error: "[invalid bearer token, token lookup failed]"}
	// The name of a token has its form, too: looked up as a token it is hashed once more, and not found.
	if token := review.Spec.Token; strings.HasPrefix(token, tokenPrefix) {
		if found := g.tokens.find(objectName(token)); found != nil {
			status = authentication.TokenReviewStatus{Authenticated: true, Audiences: review.Spec.Audiences, User: authentication.UserInfo{
				Username: found.user, UID: g.tokens.uid(found.user), Groups: []string{"system:authenticated:oauth", "system:authenticated"},
				Extra: map[string]authentication.ExtraValue{"scopes.authorization.openshift.io": found.scopes},
			}}
		}
	}
	answer(w, http.StatusCreated, &authentication.TokenReview{
		TypeMeta: metav1.TypeMeta{Kind: "TokenReview", APIVersion: "authentication.k8s.io/v1"}, Status: status,
	})
}

// discover answers what the aggregator and clients ask to learn what is served.
func discover(w http.ResponseWriter, r *http.Request, parts []string) {
	group := func(name string) metav1.APIGroup {
		version := metav1.GroupVersionForDiscovery{GroupVersion: name + "/v1", Version: "v1"}
		return metav1.APIGroup{
			TypeMeta: metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}, Name: name,
			Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version,
		}
	}
	known := map[string][]metav1.APIResource{
		oauthGroup: {
			{Name: allTokens, SingularName: "oauthaccesstoken", Kind: "OAuthAccessToken", Verbs: []string{"delete", "get"}},
			{Name: ownTokens, SingularName: "useroauthaccesstoken", Kind: "UserOAuthAccessToken", Verbs: []string{"delete", "get"}},
		},
		userGroup: {{Name: "users", SingularName: "user", Kind: "User", Verbs: []string{"get"}}},
	}
	switch {
	case len(parts) == 0:
		answer(w, http.StatusOK, &metav1.APIGroupList{
			TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}, Groups: []metav1.APIGroup{group(oauthGroup), group(userGroup)},
		})
	case known[parts[0]] == nil:
		http.NotFound(w, r)
	case len(parts) == 1:
		answer(w, http.StatusOK, group(parts[0]))
	default:
		answer(w, http.StatusOK, &metav1.APIResourceList{
			TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: parts[0] + "/v1", APIResources: known[parts[0]],
		})
	}
}

func answer(w http.ResponseWriter, status int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// Who is gone by now is not told.
	_ = json.NewEncoder(w).Encode(object)
}

func refuse(w http.ResponseWriter, err *apierrors.StatusError) {
	err.ErrStatus.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	answer(w, int(err.ErrStatus.Code), &err.ErrStatus)
}
