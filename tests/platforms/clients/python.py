"""Asks for something every second with clients for Python, and prints how each was answered.

`python` is the package `kubernetes`, which has read its kubeconfig once; `python-anew` reads it again every 30 seconds. The others
are called as their packages.
"""

import os
import time

import kr8s
import lightkube
from kubernetes import client, config
from lightkube.resources.core_v1 import ConfigMap

NAMESPACE = os.environ["NAMESPACE"]


def ask(name, request):
    try:
        request()
        answer = 200
    except client.ApiException as error:
        answer = error.status
    except lightkube.ApiError as error:
        answer = error.status.code
    except kr8s.ServerError as error:
        answer = error.response.status_code if error.response is not None else repr(error)
    except Exception as error:
        # Some clients say what theirs has met with, and not its status.
        answer = 401 if "401" in repr(error) else repr(error).replace("\n", " ")
    print(name, answer, flush=True)


def official(api):
    return lambda: api.list_namespaced_config_map(NAMESPACE, limit=1)


config.load_kube_config()
once = client.CoreV1Api()
light = lightkube.Client()
kr = kr8s.api()


def ask_anew(n):
    """Reads the kubeconfig anew every 30 seconds; when the pass is over, there is none."""
    global anew
    if n % 30 == 0:
        anew = None
        anew = client.CoreV1Api(config.new_client_from_config())
    official(anew)()


for n in range(400):
    ask("python", official(once))
    ask("python-anew", lambda: ask_anew(n))
    ask("lightkube", lambda: list(light.list(ConfigMap, namespace=NAMESPACE)))
    ask("kr8s", lambda: list(kr.get("configmaps", namespace=NAMESPACE)))
    time.sleep(1)
