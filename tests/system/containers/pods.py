"""Runs the objects of an overlay as plain containers: what a cluster would mount, forbid and tell them."""

import shutil
import stat

from k8s.check.manifests import WORKLOADS, name_of, of_kind, pod_labels, pod_spec
from k8s.check.settings import environment


class Pods:
    """The containers of one test, in a network and a folder of their own."""

    def __init__(self, client, manifests, secrets, folder, name, images):
        self.client = client
        self.manifests = manifests
        self.secrets = secrets
        """By name of the secret: its keys and values, as bytes."""
        self.folder = folder
        self.name = name
        self.images = images
        """By the name that the base uses: the image that is there."""
        self.network = client.networks.create(name, driver="bridge")
        self.containers = {}

    def workload(self, name):
        workloads = of_kind(self.manifests, *WORKLOADS)
        return next(workload for workload in workloads if name_of(workload) == name)

    def run(self, name, *, number=0, program=None, publish=()):
        """Starts one pod of a workload; `program`: what to run in place of the image's own entry point."""
        workload = self.workload(name)
        spec = pod_spec(workload)
        (container,) = spec["containers"]
        pod = f"{name}-{number}"
        told = environment(container, self.manifests)
        for entry in container.get("env", []):
            if entry.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath") == "metadata.name":
                told[entry["name"]] = pod
        binds, memory = self._mounts(workload, container, pod)
        user = spec["securityContext"]
        made = self.client.containers.create(
            self.images[container["image"].rpartition(":")[0]],
            name=f"{self.name}-{pod}",
            entrypoint=program or container.get("command"),
            command=container["args"],
            environment=told,
            user=f"{user['runAsUser']}:{user['runAsGroup']}",
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            mem_limit=container["resources"]["limits"]["memory"].replace("i", "").lower(),
            volumes=binds,
            tmpfs=memory,
            ports={f"{port}/tcp": ("127.0.0.1", None) for port in publish},
            network=self.network.name,
            restart_policy={"Name": "on-failure"} if spec.get("restartPolicy") == "OnFailure" else None,
        )
        self.network.disconnect(made)
        self.network.connect(made, aliases=self._aliases(workload, pod))
        made.start()
        self.containers[pod] = made
        return made

    def port(self, pod, port):
        """Where a published port of a pod is on this machine."""
        self.containers[pod].reload()
        return int(self.containers[pod].ports[f"{port}/tcp"][0]["HostPort"])

    def log(self, pod):
        return self.containers[pod].logs().decode()

    def remove(self):
        for container in self.containers.values():
            container.remove(force=True, v=True)
        self.network.remove()

    def _aliases(self, workload, pod):
        services = [
            name_of(service)
            for service in of_kind(self.manifests, "Service")
            if service["spec"]["selector"].items() <= pod_labels(workload).items()
        ]
        stateful = workload["spec"].get("serviceName")
        return [*services, *([f"{pod}.{stateful}"] if stateful else [])]

    def _mounts(self, workload, container, pod):
        spec = pod_spec(workload)
        user = spec["securityContext"]["runAsUser"]
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        binds, memory = [], {}
        for mount in container.get("volumeMounts", []):
            volume = volumes.get(mount["name"], {})
            if "emptyDir" in volume or not volume:  # a claim gives an empty folder too
                memory[mount["mountPath"]] = f"uid={user},gid={user},mode=0700"
                continue
            folder = self.folder / pod / mount["name"]
            for path, content in self._files(volume).items():
                file = folder / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
                # as with fsGroup: the root user's, readable by the group of the pod
                shutil.chown(file, 0, user)
                file.chmod(stat.S_IRUSR | stat.S_IRGRP)
            source = folder / mount["subPath"] if "subPath" in mount else folder
            binds.append(f"{source}:{mount['mountPath']}:ro")
        return binds, memory

    def _files(self, volume):
        found = {}
        for source in [volume, *volume.get("projected", {}).get("sources", [])]:
            for field, values in (("secret", self.secrets), ("configMap", self._config_maps())):
                if field in source:
                    told = source[field]
                    content = values[told.get("name") or told.get("secretName")]
                    items = told.get("items") or [{"key": key, "path": key} for key in content]
                    found |= {item["path"]: content[item["key"]] for item in items}
        return found

    def _config_maps(self):
        return {
            name_of(found): {key: text.encode() for key, text in found["data"].items()}
            for found in of_kind(self.manifests, "ConfigMap")
        }
