"""A server on this machine that speaks as much of MLflow's protocol as its client needs."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

API = "/api/2.0/mlflow/"


class MlflowServer:
    """Runs by id, as the client made them. `fault`: what to do instead of answering.

    `asked_by`: what the client said last of who asks.
    """

    def __init__(self):
        self.runs, self.files, self.asked, self.fault = {}, {}, [], None
        self.asked_by = None
        self.released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer._handle(self, body)

            do_GET = do_PUT = do_POST

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def _handle(self, request, body):
        url = urlparse(request.path)
        self.asked.append(url.path)
        self.asked_by = request.headers.get("Authorization")
        if self.fault == "hang":
            self.released.wait(60)
            return
        if self.fault is not None:
            self._reply(request, self.fault, {"error_code": "INTERNAL_ERROR", "message": "no"})
            return
        if request.command == "PUT":
            self.files[url.path] = body
            self._reply(request, 200, {})
            return
        asked = json.loads(body) if body else {k: v[0] for k, v in parse_qs(url.query).items()}
        answer = self._answer(url.path.removeprefix(API), asked)
        found = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"}
        self._reply(
            request, 200 if answer is not None else 404, found if answer is None else answer
        )

    def _reply(self, request, status, answer):
        content = json.dumps(answer).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            request.wfile.write(content)

    def _answer(self, call, asked):
        name = "_" + call.replace("/", "_").replace("-", "_")
        return getattr(self, name)(asked)

    def _experiments_get_by_name(self, asked):
        own = {"experiment_id": "7", "name": asked["experiment_name"]}
        return {"experiment": own | {"lifecycle_stage": "active"}} if self.asked else None

    def _runs_search(self, asked):
        wanted = asked.get("filter", "").split("'")[1]
        runs = [r for r in self.runs.values() if r["data"]["tags"].get("calib_sweep.run") == wanted]
        return {"runs": [self._told(run) for run in runs if not run["deleted"]]}

    def _runs_create(self, asked):
        run_id = f"{len(self.runs):032x}"
        info = {"run_id": run_id, "run_name": asked["run_name"], "experiment_id": "7"}
        info |= {"status": "RUNNING", "lifecycle_stage": "active"}
        info |= {"artifact_uri": f"mlflow-artifacts:/7/{run_id}/artifacts"}
        tags = {tag["key"]: tag["value"] for tag in asked["tags"]}
        data = {"tags": tags, "params": {}, "metrics": []}
        self.runs[run_id] = {"info": info, "data": data, "deleted": False}
        return {"run": self._told(self.runs[run_id])}

    def _runs_get(self, asked):
        return {"run": self._told(self.runs[asked["run_id"]])}

    def _runs_delete(self, asked):
        self.runs[asked["run_id"]]["deleted"] = True
        return {}

    def _runs_log_batch(self, asked):
        data = self.runs[asked["run_id"]]["data"]
        data["params"] |= {param["key"]: param["value"] for param in asked.get("params", [])}
        data["metrics"] += asked.get("metrics", [])
        return {}

    def _runs_set_tag(self, asked):
        self.runs[asked["run_id"]]["data"]["tags"][asked["key"]] = asked["value"]
        return {}

    def _runs_update(self, asked):
        self.runs[asked["run_id"]]["info"]["status"] = asked["status"]
        return {"run_info": self.runs[asked["run_id"]]["info"]}

    def _told(self, run):
        tags = [{"key": key, "value": value} for key, value in run["data"]["tags"].items()]
        return {"info": run["info"], "data": {"tags": tags}}


@contextlib.contextmanager
def serving():
    server = MlflowServer()
    try:
        yield server
    finally:
        server.close()
