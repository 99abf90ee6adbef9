import io.fabric8.kubernetes.api.model.ListOptionsBuilder;
import io.fabric8.kubernetes.client.KubernetesClient;
import io.fabric8.kubernetes.client.KubernetesClientBuilder;
import io.fabric8.kubernetes.client.KubernetesClientException;
import io.kubernetes.client.openapi.ApiClient;
import io.kubernetes.client.openapi.ApiException;
import io.kubernetes.client.openapi.apis.CoreV1Api;
import io.kubernetes.client.util.ClientBuilder;
import io.kubernetes.client.util.KubeConfig;
import io.kubernetes.client.util.credentials.TokenFileAuthentication;
import java.io.FileReader;
import java.time.Duration;

/** Asks for something every second with the clients for Java, each made once, and prints how it was answered. */
public class Clients {
  static final String NAMESPACE = System.getenv("NAMESPACE");

  interface Request {
    /** Returns the status of an answer that is no good one. */
    int send() throws Exception;
  }

  public static void main(String[] args) throws Exception {
    String path = System.getenv("KUBECONFIG");
    Request standard = official(ClientBuilder.standard().build());
    KubeConfig config = KubeConfig.loadKubeConfig(new FileReader(path));
    Request period = official(ClientBuilder.kubeconfig(config, Duration.ofMinutes(1)).build());
    TokenFileAuthentication token = new TokenFileAuthentication(System.getenv("TOKEN_FILE"));
    Request file = official(ClientBuilder.standard().setAuthentication(token).build());
    Request fabric8 = fabric8(new KubernetesClientBuilder().build());
    for (int n = 0; n < 400; n++) {
      ask("java", standard);
      ask("java-period", period);
      ask("java-file", file);
      ask("fabric8", fabric8);
      Thread.sleep(1000);
    }
    System.exit(0);
  }

  static void ask(String name, Request request) {
    String answer;
    try {
      int status = request.send();
      answer = status > 0 ? "" + status : "no answer";
    } catch (Exception error) {
      answer = error.toString().replace('\n', ' ');
    }
    System.out.println(name + " " + answer);
  }

  /** The official client, `io.kubernetes:client-java`. */
  static Request official(ApiClient client) {
    CoreV1Api api = new CoreV1Api(client);
    return () -> {
      try {
        api.listNamespacedConfigMap(NAMESPACE).limit(1).execute();
        return 200;
      } catch (ApiException error) {
        return error.getCode();
      }
    };
  }

  /** `io.fabric8:kubernetes-client`. */
  static Request fabric8(KubernetesClient client) {
    return () -> {
      try {
        client.configMaps().inNamespace(NAMESPACE).list(new ListOptionsBuilder().withLimit(1L).build());
        return 200;
      } catch (KubernetesClientException error) {
        return error.getCode();
      }
    };
  }
}
