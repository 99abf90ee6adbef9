package openshift

import (
	"context"

	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	registration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	aggregator "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"
)

const (
	// ServiceHost is the name by which the aggregator knows the API groups' server.
	ServiceHost      = "api." + serviceNamespace + ".svc"
	serviceNamespace = "openshift-oauth-apiserver"
	everybody        = "system:authenticated"
	nobody           = "system:unauthenticated"
)

// setUp makes what OpenShift's operators make: the two groups behind the aggregator, and the rights that everybody has.
func setUp(ctx context.Context, config *rest.Config, kube kubernetes.Interface, port int32, ca []byte) error {
	made := func(_ any, err error) error {
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	}
	named := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name} }
	steps := []func() error{
		func() error {
			return made(kube.CoreV1().Namespaces().Create(ctx, &core.Namespace{ObjectMeta: named(serviceNamespace)}, metav1.CreateOptions{}))
		},
		func() error {
			// By this type the aggregator goes to loopback, where no cluster network is.
			service := &core.Service{ObjectMeta: named("api"), Spec: core.ServiceSpec{
				Type: core.ServiceTypeExternalName, ExternalName: "127.0.0.1", Ports: []core.ServicePort{{Port: port}},
			}}
			return made(kube.CoreV1().Services(serviceNamespace).Create(ctx, service, metav1.CreateOptions{}))
		},
	}
	for name, right := range rights() {
		steps = append(steps,
			func() error {
				role := &rbac.ClusterRole{ObjectMeta: named(name), Rules: right.rules}
				return made(kube.RbacV1().ClusterRoles().Create(ctx, role, metav1.CreateOptions{}))
			},
			func() error {
				binding := &rbac.ClusterRoleBinding{
					ObjectMeta: named(name + "s"), RoleRef: rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "ClusterRole", Name: name},
				}
				for _, group := range right.groups {
					binding.Subjects = append(binding.Subjects, rbac.Subject{APIGroup: rbac.GroupName, Kind: rbac.GroupKind, Name: group})
				}
				return made(kube.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{}))
			},
		)
	}
	services, err := aggregator.NewForConfig(config)
	if err != nil {
		return err
	}
	for _, group := range []string{oauthGroup, userGroup} {
		steps = append(steps, func() error {
			service := &registration.APIService{ObjectMeta: named("v1." + group), Spec: registration.APIServiceSpec{
				Group: group, Version: "v1", GroupPriorityMinimum: 9900, VersionPriority: 15, CABundle: ca,
				Service: &registration.ServiceReference{Namespace: serviceNamespace, Name: "api", Port: &port},
			}}
			return made(services.ApiregistrationV1().APIServices().Create(ctx, service, metav1.CreateOptions{}))
		})
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

type right struct {
	rules  []rbac.PolicyRule
	groups []string
}

// rights are those that OpenShift ships, as far as a login needs them.
func rights() map[string]right {
	return map[string]right{
		"public-discovery": {
			[]rbac.PolicyRule{{Verbs: []string{"get"}, NonResourceURLs: []string{"/.well-known", "/.well-known/*"}}},
			[]string{everybody, nobody},
		},
		"basic-user": {
			[]rbac.PolicyRule{
				{Verbs: []string{"get"}, APIGroups: []string{userGroup}, Resources: []string{"users"}, ResourceNames: []string{"~"}},
				{Verbs: []string{"get", "list", "watch", "delete"}, APIGroups: []string{oauthGroup}, Resources: []string{ownTokens}},
			},
			[]string{everybody},
		},
		"system:oauth-token-deleter": {
			[]rbac.PolicyRule{{Verbs: []string{"delete"}, APIGroups: []string{oauthGroup}, Resources: []string{allTokens, "oauthauthorizetokens"}}},
			[]string{everybody},
		},
	}
}
