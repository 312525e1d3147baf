"""Models made by hand, put where the daemon keeps its blobs, registered and deployed: what tests of serving need, without a training."""
import hashlib
import json

from daemon import unique


def tree(feature=0, threshold=0.5, low=-1.0, high=2.0):
    return {"left_children": [1, -1, -1], "right_children": [2, -1, -1], "split_indices": [feature, 0, 0],
            "split_conditions": [threshold, low, high], "default_left": [1, 0, 0], "tree_param": {"num_nodes": "3", "size_leaf_vector": "1"}}


def model_json(columns, trees=None, objective="reg:squarederror", classes=0, base="0"):
    """XGBoost's JSON. With the default tree: -1 where the first column is below 0.5, else 2."""
    trees = [tree()] if trees is None else trees
    info = [i % max(1, classes) for i in range(len(trees))]
    return {"learner": {"learner_model_param": {"base_score": base, "num_class": str(classes), "num_feature": str(len(columns)), "num_target": "1"},
                        "objective": {"name": objective}, "feature_names": list(columns),
                        "gradient_booster": {"name": "gbtree", "model": {"trees": trees, "tree_info": info}}}, "version": [1, 7, 4]}


def put_blob(server, data, workspace="default"):
    """Bytes into the storage of a daemon, as storage-fs names them, for one workspace."""
    name = hashlib.sha256(data).hexdigest()
    folder = server.state / "blobs" / ("" if workspace == "default" else f"workspaces/{workspace}") / name[:2]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name[2:]).write_bytes(data)
    return name


def register(server, client, columns, data=None, name=None, **more):
    """A version of a model; data: its bytes, of model_json when they are left out."""
    name = name or unique("model")
    data = json.dumps(model_json(columns)).encode() if data is None else data
    if client.get(f"/api/v1/models/{name}").status == 404:
        assert client.post("/api/v1/models", {"name": name}).status == 201
    workspace = client.get("/api/v1/access/whoami").json["workspace"]
    body = {"framework": "xgboost", "sha256": put_blob(server, data, workspace), "size": max(1, len(data)),
            "signature": {"inputs": [{"name": column} for column in columns], "outputs": [{"name": "probability"}]}, **more}
    answer = client.post(f"/api/v1/models/{name}/versions", body)
    assert answer.status == 201, answer
    return name, answer.json["version"]


def deploy(server, client, columns, endpoint=None, **more):
    """An endpoint that serves a model of these columns: its name and the model's."""
    endpoint = endpoint or unique("endpoint")
    model, version = register(server, client, columns, **more)
    answer = client.post("/api/v1/endpoints", {"name": endpoint, "model": model, "version": str(version)})
    assert answer.status == 201, answer
    return endpoint, model


def infer(client, endpoint, rows, **more):
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [len(rows), len(rows[0])], "data": rows}], **more}
    return client.post(f"/v2/models/{endpoint}/infer", body)
