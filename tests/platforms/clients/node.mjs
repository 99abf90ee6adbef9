// Asks for something every second with the client for Node, package `@kubernetes/client-node`, and prints how it was answered.
// `node` has read its kubeconfig once; `node-anew` reads it again every 30 seconds.
import { createRequire } from "node:module";
import { setTimeout } from "node:timers/promises";

// A module looks for packages beside itself, where there are none.
const { CoreV1Api, KubeConfig } = createRequire(process.env.PACKAGES)("@kubernetes/client-node");

function configured() {
  const config = new KubeConfig();
  config.loadFromDefault();
  return config.makeApiClient(CoreV1Api);
}

async function ask(name, api) {
  let answer = 200;
  try {
    await api().listNamespacedConfigMap({ namespace: process.env.NAMESPACE, limit: 1 });
  } catch (error) {
    answer = error.code ?? JSON.stringify(String(error));
  }
  console.log(name, answer);
}

const once = configured();
let anew;
for (let n = 0; n < 400; n++) {
  await ask("node", () => once);
  await ask("node-anew", () => {
    // When the pass is over, there is no kubeconfig.
    if (n % 30 === 0) {
      anew = undefined;
      anew = configured();
    }
    return anew;
  });
  await setTimeout(1000);
}
