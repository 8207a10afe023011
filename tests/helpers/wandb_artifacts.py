"""The artifacts of the W&B server on the loopback device: kept by name and digest, as W&B does.

The same content under the same name is the artifact that is there: nothing is sent again.
"""

import json
import threading
from dataclasses import dataclass, field

OPERATIONS = (
    "ArtifactType", "CreateArtifact", "CreateArtifactManifest", "CreateArtifactFiles",
    "CommitArtifact", "UseArtifact", "ArtifactByID",
)  # fmt: skip


@dataclass
class Artifact:
    """What the server has been told of an artifact, and which runs made and used it."""

    id: str
    name: str
    type: str
    digest: str
    metadata: dict
    made_by: str
    aliases: set[str] = field(default_factory=set)
    files: dict[str, bytes] = field(default_factory=dict)
    used_by: list[str] = field(default_factory=list)
    is_committed: bool = False


class Artifacts:
    """All artifacts of a server; `answer` is asked by several threads."""

    def __init__(self) -> None:
        self.all: dict[str, Artifact] = {}  # by id
        self.lock = threading.Lock()

    def of_type(self, kind):
        return [one for one in self.all.values() if one.type == kind and one.is_committed]

    def answer(self, name, given, project, address):
        """Answer an operation of GraphQL; `address(place)`: where a file of that place is sent."""
        with self.lock:
            return getattr(self, f"_{name}")(given, project, address)

    def receive(self, place, content):
        """Keep a file that was sent to its place, `artifact/ID/NAME`."""
        _, number, name = place.split("/", 2)
        with self.lock:
            self.all[number].files[name] = content

    def _ArtifactType(self, given, project, _):
        named = [one for one in self.all.values() if one.name == given["name"].split(":")[0]]
        found = {"artifactType": {"name": named[-1].type}} if named else None
        return {"project": project | {"artifact": found}}

    def _CreateArtifact(self, given, *_):
        told = given["input"]
        name, digest = told["artifactCollectionName"], told["digest"]
        alike = [one for one in self.all.values() if (one.name, one.digest) == (name, digest)]
        if not alike:
            metadata = json.loads(told["metadata"] or "{}")
            new = {"name": name, "type": told["artifactTypeName"], "made_by": told["runName"]}
            one = Artifact(id=f"A{len(self.all)}", digest=digest, metadata=metadata, **new)
            self.all[one.id] = one
            alike = [one]
        alike[0].aliases |= {alias["alias"] for alias in told["aliases"]}
        state = "COMMITTED" if alike[0].is_committed else "PENDING"
        latest = {"id": alike[0].id, "versionIndex": 0} if alike[0].is_committed else None
        sequence = {"latestArtifact": latest}
        found = {"id": alike[0].id, "state": state, "artifactSequence": sequence}
        return {"createArtifact": {"artifact": found}}

    def _CreateArtifactManifest(self, _, __, address):
        upload = {"id": "F", "uploadUrl": address("manifest"), "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": "M", "file": upload}}}

    def _CreateArtifactFiles(self, given, _, address):
        nodes = []
        for file in given["input"]["artifactFiles"]:
            number = file["artifactID"]
            url = address(f"artifact/{number}/{file['name']}")
            node = {"id": "F", "uploadUrl": url, "uploadHeaders": [], "storagePath": "s"}
            nodes.append({"node": node | {"uploadMultipartUrls": None, "artifact": {"id": number}}})
        return {"createArtifactFiles": {"files": {"edges": nodes}}}

    def _CommitArtifact(self, given, *_):
        one = self.all[given["artifactID"]]
        one.is_committed = True
        return {"commitArtifact": {"artifact": {"id": one.id, "digest": one.digest}}}

    def _UseArtifact(self, given, *_):
        told = given.get("input", given)  # the client has two ways to say it
        one = self.all[told["artifactID"]]
        one.used_by.append(told["runName"])
        return {"useArtifact": {"artifact": {"id": one.id, "digest": one.digest}}}

    def _ArtifactByID(self, given, project, _):
        one = self.all[given["id"]]
        owner = {"__typename": "ArtifactSequence", "name": one.name}
        owner["project"] = project | {"internalId": "17"}
        found = {"__typename": "Artifact", "id": one.id, "artifactSequence": owner}
        found |= {"versionIndex": 0, "artifactType": {"name": one.type}, "description": None}
        found |= {"metadata": json.dumps(one.metadata), "ttlDurationSeconds": -1}
        found |= {"ttlIsInherited": True, "tags": [], "historyStep": None, "state": "COMMITTED"}
        found |= {"size": sum(map(len, one.files.values())), "digest": one.digest}
        found |= {"digestAlgorithm": "MANIFEST_MD5", "commitHash": "c", "aliases": []}
        found |= {"fileCount": len(one.files), "createdAt": "2030-01-01T00:00:00"}
        return {"artifact": found | {"updatedAt": None}}
