"""Asks for something every second with the Python client, package `kubernetes`, and prints how it was answered.

`python` has read its kubeconfig once; `python-anew` reads it again every 30 seconds.
"""

import os
import time

from kubernetes import client, config


def ask(name, api):
    try:
        api.list_namespaced_config_map(os.environ["NAMESPACE"], limit=1)
        answer = 200
    except client.ApiException as error:
        answer = error.status
    except Exception as error:
        answer = repr(error)
    print(name, answer, flush=True)


config.load_kube_config()
once = client.CoreV1Api()
for n in range(400):
    if n % 30 == 0:
        anew = client.CoreV1Api(config.new_client_from_config())
    ask("python", once)
    ask("python-anew", anew)
    time.sleep(1)
