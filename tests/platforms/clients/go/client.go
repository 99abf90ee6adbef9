package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// seconds is the longest that a client goes on, if nobody ends it.
const seconds = 400

// configured makes the client that KUBECONFIG describes; it is not made again.
func configured() (*kubernetes.Clientset, error) {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

// requests asks for something every second.
func requests([]string) error {
	client, err := configured()
	if err != nil {
		return err
	}
	maps := client.CoreV1().ConfigMaps(os.Getenv("NAMESPACE"))
	for range seconds {
		_, err := maps.List(context.Background(), metav1.ListOptions{Limit: 1})
		say("client-go", err)
		time.Sleep(time.Second)
	}
	return nil
}

// informer follows changes, by one watch after another.
func informer([]string) error {
	client, err := configured()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), seconds*time.Second)
	defer cancel()
	list := cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "configmaps", os.Getenv("NAMESPACE"), fields.Everything())
	follower := cache.NewSharedInformer(list, &corev1.ConfigMap{}, 0)
	if err := follower.SetWatchErrorHandler(func(_ *cache.Reflector, err error) { say("informer", err) }); err != nil {
		return err
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { say("informer", nil) },
		UpdateFunc: func(any, any) { say("informer", nil) },
	}
	if _, err := follower.AddEventHandler(handler); err != nil {
		return err
	}
	follower.Run(ctx.Done())
	return nil
}

// say prints what a request was answered with: its status, or the error where there was none.
func say(client string, err error) {
	var status apierrors.APIStatus
	switch {
	case err == nil:
		fmt.Println(client, http.StatusOK)
	case errors.As(err, &status):
		fmt.Println(client, status.Status().Code)
	default:
		fmt.Println(client, err)
	}
}
