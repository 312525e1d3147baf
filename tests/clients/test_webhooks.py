"""Webhooks as the newer client makes them, and what a receiver that follows MLflow's documentation makes of what comes."""
import base64
import hashlib
import hmac
import http.server
import json
import threading
import time

import pytest

mlflow = pytest.importorskip("mlflow")
webhook = pytest.importorskip("mlflow.entities.webhook")

pytestmark = [pytest.mark.since3, pytest.mark.ours]  # MLflow's own server calls no address of the machine itself
SECRET = "a secret of receivers"


@pytest.fixture
def receiver():
    """Where hooks may point, and the list of what came."""
    came = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            came.append((self.headers, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", came
    server.shutdown()
    server.server_close()


@pytest.fixture
def hook(client, receiver):
    made = client.create_webhook("of-the-client", receiver[0], ["registered_model.created", "model_version_tag.set", "prompt_version.created"],
                                 description="d", secret=SECRET)
    yield made
    client.delete_webhook(made.webhook_id)


def is_signed(headers, body):
    signed = f"{headers['X-MLflow-Delivery-Id']}.{headers['X-MLflow-Timestamp']}.".encode() + body
    right = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
    return headers["X-MLflow-Signature"] == f"v1,{right}" and abs(time.time() - int(headers["X-MLflow-Timestamp"])) < 300


def test_made_changed_and_deleted(client, hook, fails):
    found = client.get_webhook(hook.webhook_id)
    assert [str(event) for event in found.events] == ["registered_model.created", "model_version_tag.set", "prompt_version.created"]
    assert (found.name, found.description, str(found.status), found.secret) == ("of-the-client", "d", "ACTIVE", None)
    assert hook.webhook_id in [one.webhook_id for one in client.list_webhooks()]
    changed = client.update_webhook(hook.webhook_id, status="DISABLED", events=["prompt.created"], description="")
    assert (str(changed.status), [str(event) for event in changed.events], changed.description) == ("DISABLED", ["prompt.created"], None)
    assert changed.last_updated_timestamp >= changed.creation_timestamp == found.creation_timestamp
    with fails("RESOURCE_DOES_NOT_EXIST", "Webhook with ID none not found."):
        client.get_webhook("none")
    with fails("INVALID_PARAMETER_VALUE", "Invalid webhook URL scheme: 'ftp'"):
        client.create_webhook("x", "ftp://x/", ["prompt.created"])
    with fails("INVALID_PARAMETER_VALUE", "Webhook name 'a b' is invalid"):
        client.update_webhook(hook.webhook_id, name="a b")


def test_every_event_can_be_tried(client, hook, receiver):
    from mlflow.webhooks.types import get_example_payload_for_event

    result = client.test_webhook(hook.webhook_id)
    assert (result.success, result.response_status, result.response_body) == (True, 200, "ok")
    events = [webhook.WebhookEvent(entity, action) for entity, actions in webhook.VALID_ENTITY_ACTIONS.items() for action in actions if "budget" not in str(entity)]
    assert all(client.test_webhook(hook.webhook_id, event).success for event in events)
    told = [json.loads(body) for _, body in receiver[1][1:]]
    for event, one in zip(events, told, strict=True):
        assert (one["entity"], one["action"]) == (str(event.entity), str(event.action))
        assert set(get_example_payload_for_event(event)) == set(one["data"]), one
    assert all(is_signed(*one) for one in receiver[1])


def test_what_the_client_does_is_told(client, hook, receiver, name):
    model, prompt = name("model"), name("prompt")
    client.create_registered_model(model, tags={"k": "v"}, description="of it")
    client.create_model_version(model, "s3://bucket/path")
    client.set_model_version_tag(model, "1", "checked", "yes")
    mlflow.genai.register_prompt(prompt, "Say {{ what }}.", tags={"team": "grid"})

    def told():
        return {(one["entity"], one["data"]["name"]): one["data"] for one in (json.loads(body) for _, body in list(receiver[1]))}

    end = time.monotonic() + 30
    while len(told()) < 3 and time.monotonic() < end:
        time.sleep(0.05)
    assert told()[("registered_model", model)] == {"name": model, "tags": {"k": "v"}, "description": "of it"}
    assert told()[("model_version_tag", model)] == {"name": model, "version": "1", "key": "checked", "value": "yes"}
    of_prompt = told()[("prompt_version", prompt)]
    assert (of_prompt["version"], of_prompt["template"], of_prompt["tags"]["team"]) == ("1", "Say {{ what }}.", "grid")
    assert all(is_signed(*one) for one in receiver[1])
