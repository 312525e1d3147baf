"""What each operation and route answers to whom: kept by hand, and not derived from what they declare.

One row for each: `"PLUGIN.NAME": row("none  workspace  project  beyond  other", what is asked)`. The columns:

none       nobody at all, and whoever shows a revoked, an expired, a forged or a truncated key
workspace  owner, editor, operator, approver and viewer of the whole workspace, about an object of project A
project    the same five roles, held in project A alone, about an object of project A
beyond     those five again, about an object of project B
other      the owner of another workspace about an object of project A, and our owner about an object of that workspace

+ is let through (whatever then comes of it), 1: 401, 3: 403, 4: 404, . is not asked, since no object is named: what is listed must
then name nothing out of reach. What is asked is a function of the objects of one project: the fields of the input, by name."""
import collections

ROLES = ("owner", "editor", "operator", "approver", "viewer")

Row = collections.namedtuple("Row", "none workspace project beyond other ask creates fresh body headers")


def row(expected, ask=lambda o: {}, creates=False, fresh=None, body=None, headers=None):
    """creates: what is made belongs to the project of Purlin-Project. fresh: a function that makes what the call will take away.
    body: of a route, in place of JSON."""
    return Row(*expected.split(), ask, creates, fresh, body, headers)


SIGNATURE = {"inputs": [{"name": "x"}, {"name": "y"}], "outputs": [{"name": "probability"}]}
TENSOR = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[[0.1,0.2]]}]}'


def champion(o):
    return {"endpoint": o.endpoint, "model": o.model, "version": 1, "dataset": o.dataset, "dataset_version": 1,
            "baseline_accuracy": 0.5}


def the_model(o):
    return {"username": o.user, "resource_type": "registered_model", "resource_id": o.model}

MLMODEL = '{"artifact_path": "m", "flavors": {}, "utc_time_created": "-", "run_id": "r"}'

PUBLIC = "+ +++++ +++++ ..... ."
CALLBACK = "1 11111 11111 11111 1"

ROWS = {
    # ---- mlflow: what a client asks of the server itself ---------------------------------------------------------------------------
    "mlflow.health": row(PUBLIC),
    "mlflow.version": row(PUBLIC),
    "mlflow.describe_server": row(PUBLIC),
    # ---- mlflow: users and permissions -----------------------------------------------------------------------------------------------
    "mlflow.current_user": row("1 +++++ +++++ ..... ."),
    "mlflow.get_user": row("1 +++++ 33333 ..... .", lambda o: {"username": o.user}, fresh="user"),
    "mlflow.list_users": row("1 +++++ 33333 ..... ."),
    "mlflow.create_user": row("1 +3333 33333 ..... .", lambda o: {"username": o.new("u"), "password": "four plain garden words"}),
    "mlflow.update_password": row("1 +3333 33333 ..... .", lambda o: {"username": o.user, "password": "four plain garden words"}, fresh="user"),
    "mlflow.update_admin": row("1 +3333 33333 ..... .", lambda o: {"username": o.user, "is_admin": True}, fresh="user"),
    "mlflow.delete_user": row("1 +3333 33333 ..... .", lambda o: {"username": o.user}, fresh="user"),
    "mlflow.create_experiment_permission": row("1 +3333 +3333 43333 4", lambda o: {"experiment_id": o.experiment_id, "username": o.user, "permission": "READ"}, fresh="member"),
    "mlflow.get_experiment_permission": row("1 +++++ +++++ 44444 4", lambda o: {"experiment_id": o.experiment_id, "username": o.user}, fresh="experiment_permission"),
    "mlflow.update_experiment_permission": row("1 +3333 +3333 43333 4", lambda o: {"experiment_id": o.experiment_id, "username": o.user, "permission": "EDIT"}, fresh="experiment_permission"),
    "mlflow.delete_experiment_permission": row("1 +3333 +3333 43333 4", lambda o: {"experiment_id": o.experiment_id, "username": o.user}, fresh="experiment_permission"),
    "mlflow.create_model_permission": row("1 +3333 +3333 43333 4", lambda o: {"name": o.model, "username": o.user, "permission": "READ"}, fresh="member"),
    "mlflow.get_model_permission": row("1 +++++ +++++ 44444 4", lambda o: {"name": o.model, "username": o.user}, fresh="permission"),
    "mlflow.update_model_permission": row("1 +3333 +3333 43333 4", lambda o: {"name": o.model, "username": o.user, "permission": "EDIT"}, fresh="permission"),
    "mlflow.delete_model_permission": row("1 +3333 +3333 43333 4", lambda o: {"name": o.model, "username": o.user}, fresh="permission"),
    "mlflow.grant_permission": row("1 +3333 +3333 43333 4", lambda o: {**the_model(o), "permission": "READ"}, fresh="member"),
    "mlflow.revoke_permission": row("1 +3333 +3333 43333 4", lambda o: the_model(o), fresh="permission"),
    "mlflow.get_permission": row("1 +++++ +++++ +++++ +", lambda o: the_model(o), fresh="permission"),  # what is out of reach permits nothing
    # ---- mlflow: logged models ----------------------------------------------------------------------------------------------------
    "mlflow.create_logged_model": row("1 ++333 ++333 44333 4", lambda o: {"experiment_id": o.experiment_id}),
    "mlflow.get_logged_model": row("1 +++++ +++++ 44444 4", lambda o: {"model_id": o.logged}),
    "mlflow.search_logged_models": row("1 +++++ +++++ ..... .", lambda o: {"experiment_ids": [o.experiment_id]}),
    "mlflow.finalize_logged_model": row("1 ++333 ++333 44333 4", lambda o: {"model_id": o.logged, "status": "LOGGED_MODEL_READY"}),
    "mlflow.delete_logged_model": row("1 ++333 ++333 44333 4", lambda o: {"model_id": o.logged}, fresh="logged"),
    "mlflow.set_logged_model_tags": row("1 ++333 ++333 44333 4", lambda o: {"model_id": o.logged, "tags": [{"key": "a", "value": "b"}]}),
    "mlflow.delete_logged_model_tag": row("1 ++333 ++333 44333 4", lambda o: {"model_id": o.logged, "tag_key": "gone"}, fresh="logged"),
    "mlflow.log_logged_model_params": row("1 ++333 ++333 44333 4", lambda o: {"model_id": o.logged, "params": [{"key": "a", "value": "b"}]}),
    "mlflow.log_model": row("1 ++333 ++333 44333 4", lambda o: {"run_id": o.run, "model_json": MLMODEL}),
    # ---- mlflow: experiments, runs and what is logged in them
    "mlflow.create_experiment": row("1 ++333 ++333 44444 4", lambda o: {"name": o.new("e")}, creates=True),
    "mlflow.get_experiment": row("1 +++++ +++++ 44444 4", lambda o: {"experiment_id": o.experiment_id}),
    "mlflow.get_experiment_by_name": row("1 +++++ +++++ 44444 4", lambda o: {"experiment_name": o.experiment}),
    "mlflow.update_experiment": row("1 ++333 ++333 44333 4", lambda o: {"experiment_id": o.trial_id, "new_name": o.new("e")}, fresh="trial"),
    "mlflow.delete_experiment": row("1 ++333 ++333 44333 4", lambda o: {"experiment_id": o.trial_id}, fresh="trial"),
    "mlflow.restore_experiment": row("1 ++333 ++333 44333 4", lambda o: {"experiment_id": o.trial_id}, fresh="deleted_trial"),
    "mlflow.set_experiment_tag": row("1 ++333 ++333 44333 4", lambda o: {"experiment_id": o.trial_id, "key": "k", "value": "v"}, fresh="trial"),
    "mlflow.delete_experiment_tag": row("1 ++333 ++333 44333 4", lambda o: {"experiment_id": o.trial_id, "key": "gone"}, fresh="trial"),
    "mlflow.create_run": row("1 ++333 ++333 44333 4", lambda o: {"experiment_id": o.experiment_id}),
    "mlflow.get_run": row("1 +++++ +++++ 44444 4", lambda o: {"run_id": o.run}),
    "mlflow.update_run": row("1 ++333 ++333 44333 4", lambda o: {"run_id": o.run, "run_name": "x"}),
    "mlflow.delete_run": row("1 ++333 ++333 44333 4", lambda o: {"run_id": o.trial_run}, fresh="trial"),
    "mlflow.restore_run": row("1 ++333 ++333 44333 4", lambda o: {"run_id": o.trial_run}, fresh="deleted_trial"),
    "mlflow.log_metric": row("1 ++333 ++333 44333 4", lambda o: {"run_id": o.run, "key": "loss", "value": 1, "timestamp": 1}),
    "mlflow.log_batch": row("1 ++333 ++333 44333 4", lambda o: {"run_id": o.run, "tags": [{"key": "a", "value": "b"}]}),
    "mlflow.log_parameter": row("1 ++333 ++333 44333 4", lambda o: {"run_id": o.run, "key": "depth", "value": "6"}),
    "mlflow.set_tag": row("1 ++333 ++333 44333 4", lambda o: {"run_id": o.run, "key": "stage", "value": "x"}),
    "mlflow.delete_tag": row("1 ++333 ++333 44333 4", lambda o: {"run_id": o.trial_run, "key": "gone"}, fresh="trial"),
    "mlflow.get_history": row("1 +++++ +++++ 44444 4", lambda o: {"run_id": o.run, "metric_key": "loss"}),
    # ---- mlflow: the model registry -----------------------------------------------------------------------------------------------
    "mlflow.create_registered_model": row("1 ++333 ++333 44444 4", lambda o: {"name": o.new("m")}, creates=True),
    "mlflow.get_registered_model": row("1 +++++ +++++ 44444 4", lambda o: {"name": o.model}),
    "mlflow.search_registered_models": row("1 +++++ +++++ ..... ."),
    "mlflow.get_latest_versions": row("1 +++++ +++++ 44444 4", lambda o: {"name": o.model}),
    "mlflow.update_registered_model": row("1 ++333 ++333 44333 4", lambda o: {"name": o.model, "description": "x"}),
    "mlflow.rename_registered_model": row("1 ++333 ++333 44333 4", lambda o: {"name": o.doomed, "new_name": o.new("m")}, fresh="doomed"),
    "mlflow.delete_registered_model": row("1 ++333 ++333 44333 4", lambda o: {"name": o.doomed}, fresh="doomed"),
    "mlflow.set_registered_model_tag": row("1 ++333 ++333 44333 4", lambda o: {"name": o.model, "key": "k", "value": "v"}),
    "mlflow.delete_registered_model_tag": row("1 ++333 ++333 44333 4", lambda o: {"name": o.model, "key": "none"}),
    "mlflow.set_registered_model_alias": row("1 ++333 ++333 44333 4", lambda o: {"name": o.model, "alias": "champion", "version": "1"}),
    "mlflow.delete_registered_model_alias": row("1 ++333 ++333 44333 4", lambda o: {"name": o.model, "alias": "none"}),
    "mlflow.get_model_version_by_alias": row("1 +++++ +++++ 44444 4", lambda o: {"name": o.model, "alias": "latest"}),
    "mlflow.create_model_version": row("1 ++333 ++333 44333 4", lambda o: {"name": o.model, "source": "s3://bucket/model"}),
    "mlflow.get_model_version": row("1 +++++ +++++ 44444 4", lambda o: {"name": o.model, "version": "1"}),
    "mlflow.get_model_version_download_uri": row("1 +++++ +++++ 44444 4", lambda o: {"name": o.doomed, "version": "1"}, fresh="doomed"),
    "mlflow.search_model_versions": row("1 +++++ +++++ ..... ."),
    "mlflow.update_model_version": row("1 ++333 ++333 44333 4", lambda o: {"name": o.model, "version": "1", "description": "x"}),
    "mlflow.delete_model_version": row("1 ++333 ++333 44333 4", lambda o: {"name": o.doomed, "version": "1"}, fresh="doomed"),
    "mlflow.transition_model_version_stage": row("1 ++333 ++333 44333 4", lambda o: {"name": o.model, "version": "1", "stage": "Staging"}),
    "mlflow.set_model_version_tag": row("1 ++333 ++333 44333 4", lambda o: {"name": o.model, "version": "1", "key": "k", "value": "v"}),
    "mlflow.delete_model_version_tag": row("1 ++333 ++333 44333 4", lambda o: {"name": o.model, "version": "1", "key": "none"}),
    # ---- access: the runtime's own ------------------------------------------------------------------------------------------------
    "access.whoami": row("1 +++++ +++++ ..... ."),
    "access.list_grants": row("1 +++++ +++++ ..... ."),
    "access.grant_role": row("1 +3333 +3333 43333 4", lambda o: {"subject": o.new("user:u"), "role": "viewer", "project": o.project}),
    "access.revoke_grant": row("1 +3333 +3333 43333 4", lambda o: {"id": o.grant}, fresh="grant"),
    "access.get_grant": row("1 +++++ +++++ 44444 4", lambda o: {"id": o.grant}, fresh="grant"),
    "access.check_permissions": row("1 +++++ +++++ 44444 4", lambda o: {"subject": "user:x", "permissions": ["models:read"], "project": o.project}),
    "access.get_key": row("1 +++++ 44444 44444 4", lambda o: {"id": o.key}, fresh="key"),
    "access.get_role": row("1 +++++ +++++ ..... 4", lambda o: {"name": o.role}, fresh="role"),
    "access.list_keys": row("1 +++++ +++++ ..... ."),
    "access.create_key": row("1 +++++ +++++ 44444 4", lambda o: {"name": "k", "permissions": ["models:read"], "project": o.project}),
    "access.revoke_key": row("1 +3333 44444 44444 4", lambda o: {"id": o.key}, fresh="key"),
    "access.rotate_key": row("1 +3333 44444 44444 4", lambda o: {"id": o.key}),
    "access.list_roles": row("1 +++++ +++++ ..... ."),
    "access.create_role": row("1 +3333 33333 ..... .", lambda o: {"name": o.new("r"), "summary": "-", "permissions": ["models:read"]}),
    "access.delete_role": row("1 +3333 33333 ..... 4", lambda o: {"name": o.role}, fresh="role"),
    "access.list_projects": row("1 +++++ +++++ ..... ."),
    "access.get_project": row("1 +++++ +++++ 44444 4", lambda o: {"name": o.project}),
    "access.create_project": row("1 +3333 33333 ..... .", lambda o: {"name": o.new("p")}),
    "access.create_workspace": row("1 +3333 33333 ..... .", lambda o: {"name": o.new("w"), "owner": "user:x"}),
    "access.set_quota": row("1 +3333 33333 ..... .", lambda o: {"workspace": "default", "name": "runs"}),
    "access.list_quotas": row("1 +++++ +++++ ..... ."),
    # ---- audit --------------------------------------------------------------------------------------------------------------------
    "audit.list": row("1 +3333 33333 ..... ."),
    "audit.head": row("1 +3333 33333 ..... ."),
    "audit.inclusion_proof": row("1 +3333 33333 ..... .", lambda o: {"sequence": 0}),
    "audit.consistency_proof": row("1 +3333 33333 ..... .", lambda o: {"from": 0}),
    "audit.export": row("1 +3333 33333 ..... ."),
    "audit.erase": row("1 +3333 33333 ..... .", lambda o: {"actor": o.new("user:u")}),
    # ---- accounts: users are of the server, and managed in its first workspace; whoever calls here is none ---------------------------
    "accounts.login": row(PUBLIC),
    "accounts.refresh": row(PUBLIC),
    "accounts.logout": row(PUBLIC),
    "accounts.login_page": row(PUBLIC),
    "accounts.browser_login": row(PUBLIC, body=b"", headers={"Sec-Fetch-Site": "same-origin"}),  # from other pages: test_browser.py
    "accounts.browser_logout": row(PUBLIC, body=b"", headers={"Sec-Fetch-Site": "same-origin"}),
    "accounts.jwks": row(PUBLIC),
    "accounts.forgot_password": row(PUBLIC, lambda o: {"name": "x"}),
    "accounts.verify_email": row(PUBLIC, lambda o: {"token": "x"}),
    "accounts.reset_password": row(PUBLIC, lambda o: {"token": "x", "password": "four plain garden words"}),
    "accounts.register_user": row("3 33333 33333 ..... ."),  # nobody registers where it is not configured
    "accounts.confirm_registration": row(PUBLIC, lambda o: {"token": "x", "password": "x"}),
    "accounts.send_verification": row("1 +++++ +++++ ..... ."),  # 409: this server sends no mail
    "accounts.list_users": row("1 +++++ 33333 ..... ."),
    "accounts.get_user": row("1 +++++ 33333 ..... .", lambda o: {"name": o.user}, fresh="user"),
    "accounts.create_user": row("1 +3333 33333 ..... .", lambda o: {"name": o.new("u")}),
    "accounts.disable_user": row("1 +3333 33333 ..... .", lambda o: {"name": o.user}, fresh="user"),
    "accounts.enable_user": row("1 +3333 33333 ..... .", lambda o: {"name": o.user}, fresh="user"),
    "accounts.set_password": row("1 +3333 33333 ..... .", lambda o: {"name": o.user, "password": "four plain garden words"}, fresh="user"),
    "accounts.replace_password": row("1 +3333 33333 ..... .", lambda o: {"name": o.user, "password": "four plain garden words"}, fresh="user"),
    "accounts.add_certificate": row("1 +3333 33333 ..... .", lambda o: {"name": o.user, "subject": o.new("CN=")}, fresh="user"),
    "accounts.list_certificates": row("1 +++++ 33333 ..... .", lambda o: {"name": o.user}, fresh="user"),
    "accounts.get_certificate": row("1 44444 33333 ..... .", lambda o: {"id": "crt_none"}),
    "accounts.remove_certificate": row("1 43333 33333 ..... .", lambda o: {"id": "crt_none"}),
    "accounts.rotate_key": row("1 +3333 33333 ..... .", lambda o: {}),
    "auth-ldap.test": row("1 +3333 33333 ..... ."),  # of the workspace 'default'; there is no directory
    "accounts.me": row("1 33333 33333 ..... ."),
    "accounts.rename": row("1 33333 33333 ..... .", lambda o: {"display_name": "x"}),
    "accounts.change_email": row("1 33333 33333 ..... .", lambda o: {"password": "x", "email": ""}),
    "accounts.change_password": row("1 33333 33333 ..... .", lambda o: {"password": "x", "new_password": "four plain garden words"}),
    "accounts.list_sessions": row("1 33333 33333 ..... ."),
    "accounts.revoke_session": row("1 44444 44444 ..... .", lambda o: {"id": "ses_none"}),
    # ---- auth-oidc: no provider is configured here, and that is what they answer --------------------------------------------------
    "auth-oidc.login": row("4 44444 44444 ..... ."),
    "auth-oidc.callback": row("4 44444 44444 ..... ."),
    "auth-oidc.logout": row("4 44444 44444 ..... ."),
    "auth-oidc.backchannel_logout": row("4 44444 44444 ..... ."),
    "auth-oidc.device": row("4 44444 44444 ..... ."),
    "auth-oidc.device_poll": row("4 44444 44444 ..... ."),
    "auth-oidc.check": row("1 +++++ 33333 ..... ."),
    # ---- registry -----------------------------------------------------------------------------------------------------------------
    "registry.list_models": row("1 +++++ +++++ ..... ."),
    "registry.get_model": row("1 +++++ +++++ 44444 4", lambda o: {"name": o.model}),
    "registry.create_model": row("1 ++333 ++333 44444 4", lambda o: {"name": o.new("m")}, creates=True),
    "registry.list_versions": row("1 +++++ +++++ 44444 4", lambda o: {"name": o.model}),
    "registry.get_version": row("1 +++++ +++++ 44444 4", lambda o: {"name": o.model, "version": "1"}),
    "registry.create_version": row("1 ++333 ++333 44333 4", lambda o: {
        "name": o.model, "framework": "xgboost", "sha256": o.sha256, "size": 10, "signature": SIGNATURE}),
    "registry.list_aliases": row("1 +++++ +++++ 44444 4", lambda o: {"name": o.model}),
    "registry.get_alias": row("1 +++++ +++++ 44444 4", lambda o: {"name": o.model, "alias": "gone"}, fresh="alias"),
    "registry.set_alias": row("1 ++333 ++333 44333 4", lambda o: {"name": o.model, "alias": "champion", "version": 1}),
    "registry.delete_alias": row("1 ++333 ++333 44333 4", lambda o: {"name": o.model, "alias": "gone"}, fresh="alias"),
    "registry.search_models": row("1 +++++ +++++ ..... ."),
    "registry.search_versions": row("1 +++++ +++++ ..... ."),
    "registry.latest_versions": row("1 +++++ +++++ 44444 4", lambda o: {"name": o.model}),
    "registry.register_version": row("1 ++333 ++333 44333 4", lambda o: {"name": o.model, "source": "s3://bucket/model"}),
    "registry.update_model": row("1 ++333 ++333 44333 4", lambda o: {"name": o.model, "description": "x"}),
    "registry.rename_model": row("1 ++333 ++333 44333 4", lambda o: {"name": o.doomed, "new_name": o.new("m")}, fresh="doomed"),
    "registry.delete_model": row("1 ++333 ++333 44333 4", lambda o: {"name": o.doomed}, fresh="doomed"),
    "registry.set_model_tag": row("1 ++333 ++333 44333 4", lambda o: {"name": o.model, "key": "k", "value": "v"}),
    "registry.delete_model_tag": row("1 ++333 ++333 44333 4", lambda o: {"name": o.model, "key": "none"}),
    "registry.update_version": row("1 ++333 ++333 44333 4", lambda o: {"name": o.model, "version": "1", "description": "x"}),
    "registry.delete_version": row("1 ++333 ++333 44333 4", lambda o: {"name": o.doomed, "version": "1"}, fresh="doomed"),
    "registry.set_stage": row("1 ++333 ++333 44333 4", lambda o: {"name": o.model, "version": "1", "stage": "Staging"}),
    "registry.set_version_tag": row("1 ++333 ++333 44333 4", lambda o: {"name": o.model, "version": "1", "key": "k", "value": "v"}),
    "registry.delete_version_tag": row("1 ++333 ++333 44333 4", lambda o: {"name": o.model, "version": "1", "key": "none"}),
    # ---- traces -------------------------------------------------------------------------------------------------------------------
    "traces.start": row("1 ++333 ++333 44333 4", lambda o: {"experiment_id": o.experiment_id}),
    "traces.end": row("1 ++333 ++333 44333 4", lambda o: {"trace_id": o.trace}),
    "traces.get": row("1 +++++ +++++ 44444 4", lambda o: {"trace_id": o.trace}),
    "traces.get_many": row("1 +++++ +++++ +++++ +", lambda o: {"trace_ids": [o.trace]}),
    "traces.search": row("1 +++++ +++++ +++++ +", lambda o: {"experiment_ids": [o.experiment_id]}),
    "traces.set_tag": row("1 ++333 ++333 44333 4", lambda o: {"trace_id": o.trace, "key": "k", "value": "v"}),
    "traces.delete_tag": row("1 ++333 ++333 44333 4", lambda o: {"trace_id": o.trace, "key": "gone"}, fresh="trace_tag"),
    "traces.link": row("1 ++333 ++333 ++333 +", lambda o: {"trace_ids": [o.trace], "run_id": o.run}),
    "traces.delete": row("1 ++333 ++333 44333 4", lambda o: {"experiment_id": o.experiment_id, "trace_ids": ["tr-none"]}),
    "traces.create_assessment": row("1 ++333 ++333 44333 4", lambda o: {"trace_id": o.trace, "name": "good", "value": 1}),
    "traces.get_assessment": row("1 +++++ +++++ 44444 4", lambda o: {"trace_id": o.trace, "id": o.assessment}, fresh="assessment"),
    "traces.update_assessment": row("1 ++333 ++333 44333 4", lambda o: {"trace_id": o.trace, "id": o.assessment, "value": 2}, fresh="assessment"),
    "traces.delete_assessment": row("1 ++333 ++333 44333 4", lambda o: {"trace_id": o.trace, "id": o.assessment}, fresh="assessment"),
    "traces.log_spans": row("1 ++333 ++333 44333 4", lambda o: {"experiment_id": o.experiment_id, "spans": []}),
    "traces.list_spans": row("1 +++++ +++++ 44444 4", lambda o: {"trace_id": o.trace}),
    "traces.receive": row("1 ++333 ++333 ..... .", body=b"", headers={"Content-Type": "application/x-protobuf"}),
    # ---- datasets -----------------------------------------------------------------------------------------------------------------
    "datasets.list": row("1 +++++ +++++ ..... ."),
    "datasets.list_versions": row("1 +++++ +++++ 44444 4", lambda o: {"name": o.dataset}),
    "datasets.get_version": row("1 +++++ +++++ 44444 4", lambda o: {"name": o.dataset, "version": 1}),
    "datasets.download": row("1 +++++ +++++ 44444 4", lambda o: {"name": o.dataset, "version": 1}),
    "datasets.upload": row("1 ++333 ++333 44444 4", lambda o: {"name": o.new("d")}, creates=True, body=b"x,y\n1,2\n",
                           headers={"Content-Type": "text/csv"}),
    "datasets.add_version": row("1 ++333 ++333 44444 4", lambda o: {"name": o.new("d"), "sha256": o.csv_sha256}, creates=True),
    # ---- tracking -----------------------------------------------------------------------------------------------------------------
    "tracking.list_experiments": row("1 +++++ +++++ ..... ."),
    "tracking.get_experiment": row("1 +++++ +++++ 44444 4", lambda o: {"name": o.experiment}),
    "tracking.create_experiment": row("1 ++333 ++333 44444 4", lambda o: {"name": o.new("e")}, creates=True),
    "tracking.update_experiment": row("1 ++333 ++333 44333 4", lambda o: {"name": o.trial, "new_name": o.new("e")}, fresh="trial"),
    "tracking.delete_experiment": row("1 ++333 ++333 44333 4", lambda o: {"name": o.trial}, fresh="trial"),
    "tracking.restore_experiment": row("1 ++333 ++333 44333 4", lambda o: {"name": o.trial}, fresh="deleted_trial"),
    "tracking.set_experiment_tag": row("1 ++333 ++333 44333 4", lambda o: {"name": o.trial, "key": "k", "value": "v"}, fresh="trial"),
    "tracking.delete_experiment_tag": row("1 ++333 ++333 44333 4", lambda o: {"name": o.trial, "key": "gone"}, fresh="trial"),
    "tracking.list_runs": row("1 +++++ +++++ 44444 4", lambda o: {"experiment": o.experiment}),
    "tracking.create_run": row("1 ++333 ++333 44333 4", lambda o: {"experiment": o.experiment}),
    "tracking.get_run": row("1 +++++ +++++ 44444 4", lambda o: {"run_id": o.run}),
    "tracking.update_run": row("1 ++333 ++333 44333 4", lambda o: {"run_id": o.run, "name": "x"}),
    "tracking.delete_run": row("1 ++333 ++333 44333 4", lambda o: {"run_id": o.trial_run}, fresh="trial"),
    "tracking.restore_run": row("1 ++333 ++333 44333 4", lambda o: {"run_id": o.trial_run}, fresh="deleted_trial"),
    "tracking.finish_run": row("1 ++333 ++333 44333 4", lambda o: {"run_id": o.run}),
    "tracking.log_metric": row("1 ++333 ++333 44333 4", lambda o: {"run_id": o.run, "key": "loss", "value": 1}),
    "tracking.log_batch": row("1 ++333 ++333 44333 4", lambda o: {"run_id": o.run, "metrics": [{"key": "loss", "value": 1}]}),
    "tracking.log_parameter": row("1 ++333 ++333 44333 4", lambda o: {"run_id": o.run, "key": "depth", "value": "6"}),
    "tracking.set_tag": row("1 ++333 ++333 44333 4", lambda o: {"run_id": o.run, "key": "stage", "value": "x"}),
    "tracking.delete_tag": row("1 ++333 ++333 44333 4", lambda o: {"run_id": o.trial_run, "key": "gone"}, fresh="trial"),
    "tracking.metric_history": row("1 +++++ +++++ 44444 4", lambda o: {"run_id": o.run, "key": "loss"}),
    # ---- tracking: logged models --------------------------------------------------------------------------------------------------
    "tracking.create_logged_model": row("1 ++333 ++333 44333 4", lambda o: {"experiment_id": o.experiment_id}),
    "tracking.get_logged_model": row("1 +++++ +++++ 44444 4", lambda o: {"model_id": o.logged}),
    "tracking.search_logged_models": row("1 +++++ +++++ ..... .", lambda o: {"experiment_ids": [o.experiment_id]}),
    "tracking.finish_logged_model": row("1 ++333 ++333 44333 4", lambda o: {"model_id": o.logged}),
    "tracking.delete_logged_model": row("1 ++333 ++333 44333 4", lambda o: {"model_id": o.logged}, fresh="logged"),
    "tracking.set_logged_model_tags": row("1 ++333 ++333 44333 4", lambda o: {"model_id": o.logged, "tags": [{"key": "a", "value": "b"}]}),
    "tracking.delete_logged_model_tag": row("1 ++333 ++333 44333 4", lambda o: {"model_id": o.logged, "key": "gone"}, fresh="logged"),
    "tracking.log_logged_model_parameters": row("1 ++333 ++333 44333 4", lambda o: {"model_id": o.logged, "parameters": [{"key": "a", "value": "b"}]}),
    "tracking.record_model": row("1 ++333 ++333 44333 4", lambda o: {"run_id": o.run, "model": {"x": 1}}),
    "tracking.locate_run": row("1 +++++ +++++ 44444 4", lambda o: {"id": o.run}),
    "tracking.locate_logged_model": row("1 +++++ +++++ 44444 4", lambda o: {"id": o.logged}),
    # ---- artifacts ------------------------------------------------------------------------------------------------------------------
    "artifacts.list": row("1 +++++ +++++ 44444 4", lambda o: {"kind": "run", "owner": o.run}),
    "artifacts.get": row("1 +++++ +++++ 44444 4", lambda o: {"kind": "run", "owner": o.run, "path": "a/b.txt"}, fresh="file"),
    "artifacts.delete": row("1 ++333 ++333 44333 4", lambda o: {"kind": "run", "owner": o.run, "path": "a"}, fresh="file"),
    "artifacts.upload": row("1 ++333 ++333 44333 4", lambda o: {"kind": "run", "owner": o.run, "path": "up.bin"}, body=b"bytes"),
    "artifacts.download": row("1 +++++ +++++ 44444 4", lambda o: {"kind": "run", "owner": o.run, "path": "a/b.txt"}, fresh="file"),
    "mlflow.list_artifacts": row("1 +++++ +++++ 44444 4", lambda o: {"path": f"{o.experiment_id}/{o.run}/artifacts"}),
    "mlflow.list_run_artifacts": row("1 +++++ +++++ 44444 4", lambda o: {"run_id": o.run}),
    "mlflow.list_logged_model_artifacts": row("1 +++++ +++++ 44444 4", lambda o: {"model_id": o.logged}),
    "mlflow.get_artifact": row("1 +++++ +++++ 44444 4", lambda o: {"run_id": o.run, "path": "a/b.txt"}, fresh="file"),
    "mlflow.get_logged_model_artifact": row("1 44444 44444 44444 4", lambda o: {"model_id": o.logged, "artifact_file_path": "x"}),
    "mlflow.upload_from_page": row("1 ++333 ++333 44333 4", lambda o: {"run_uuid": o.run, "path": "up.bin"}, body=b"x"),
    "mlflow.delete_artifacts": row("1 ++333 ++333 44333 4", lambda o: {"path": f"{o.experiment_id}/{o.run}/artifacts/a"}, fresh="file"),
    "mlflow.upload_artifact": row("1 ++333 ++333 44333 4", lambda o: {"path": f"{o.experiment_id}/{o.run}/artifacts/up.bin"}, body=b"bytes"),
    "mlflow.download_artifact": row("1 +++++ +++++ 44444 4", lambda o: {"path": f"{o.experiment_id}/{o.run}/artifacts/a/b.txt"}, fresh="file"),
    # ---- training -----------------------------------------------------------------------------------------------------------------
    "storage-fs.collect": row("1 +3+33 33333 ..... .", lambda o: {"dry_run": True}),
    "training.trainers": row("1 +++++ +++++ ..... ."),
    "training.list_jobs": row("1 +++++ +++++ ..... ."),
    "training.get_job": row("1 +++++ +++++ 44444 4", lambda o: {"job_id": o.training}),
    "training.read_log": row("1 +++++ +++++ 44444 4", lambda o: {"job": o.training}),
    # Of a dataset that cannot be learned from, so that nothing is trained: that is found out after all that is asked here.
    "training.create_job": row("1 +++33 +++33 44433 4", lambda o: {
        "trainer": "xgboost", "dataset": o.dataset, "validation_rows": 1000, "model": o.model}),
    "training.label_job": row("1 +++33 +++33 44433 4", lambda o: {"job_id": o.training, "labels": {"a": 1}}),
    "training.cancel_job": row("1 +++33 +++33 44433 4", lambda o: {"job_id": o.training}),
    "training.artifact": row(CALLBACK, lambda o: {"job": o.training, "attempt": 1, "name": "model"}, body=b"x"),
    "training.dataset": row(CALLBACK, lambda o: {"job": o.training, "attempt": 1}),
    "training.report": row(CALLBACK, lambda o: {"job": o.training, "attempt": 1}),
    # ---- serving ------------------------------------------------------------------------------------------------------------------
    "serving.server_metadata": row(PUBLIC),
    "serving.server_live": row(PUBLIC),
    "serving.server_ready": row(PUBLIC),
    "serving.list_endpoints": row("1 +++++ +++++ ..... ."),
    "serving.repository_index": row("1 +++++ +++++ ..... ."),
    "serving.get_endpoint": row("1 +++++ +++++ 44444 4", lambda o: {"name": o.endpoint}),
    "serving.list_deployments": row("1 +++++ +++++ 44444 4", lambda o: {"name": o.endpoint}),
    "serving.deploy": row("1 +3++3 +3++3 43443 4", lambda o: {"name": o.new("e"), "model": o.model, "version": "1"}),
    "serving.rollback": row("1 +3++3 +3++3 43443 4", lambda o: {"name": o.endpoint}),
    "serving.delete_endpoint": row("1 +3++3 +3++3 43443 4", lambda o: {"name": o.spare}, fresh="spare"),
    "serving.model_metadata": row("1 +++33 +++33 44433 4", lambda o: {"name": o.endpoint}),
    "serving.model_ready": row("1 +++33 +++33 44433 4", lambda o: {"name": o.endpoint}),
    "serving.version_metadata": row("1 +++33 +++33 44433 4", lambda o: {"name": o.endpoint, "version": "1"}),
    "serving.version_ready": row("1 +++33 +++33 44433 4", lambda o: {"name": o.endpoint, "version": "1"}),
    "serving.infer": row("1 +++33 +++33 44433 4", lambda o: {"name": o.endpoint}, body=TENSOR),
    "serving.infer_version": row("1 +++33 +++33 44433 4", lambda o: {"name": o.endpoint, "version": "1"}, body=TENSOR),
    "serving.feedback": row("1 +++33 +++33 44433 4", lambda o: {"endpoint": o.endpoint, "items": [{"id": o.new("f"), "label": 1}]}),
    "serving.labelled": row("1 +++++ +++++ 44444 4", lambda o: {"endpoint": o.endpoint, "from": 0, "to": 1}),
    "serving.stats": row("1 +++++ +++++ 44444 4", lambda o: {"endpoint": o.endpoint, "from": 0, "to": 1}),
    "serving.export": row("1 ++333 ++333 44333 4", lambda o: {"endpoint": o.endpoint, "from": 0, "to": 1, "dataset": o.new("d")}),
    "serving.evaluate": row("1 +++++ +++++ 44444 4", lambda o: {
        "model": o.model, "version": "1", "dataset": o.dataset, "label": "y"}),
    # ---- drift --------------------------------------------------------------------------------------------------------------------
    "drift.list_monitors": row("1 +++++ +++++ ..... ."),
    "drift.list_alerts": row("1 +++++ +++++ ..... ."),
    "drift.create_monitor": row("1 +++33 +++33 44433 4", champion),
    "drift.get_monitor": row("1 +++++ +++++ 44444 4", lambda o: {"endpoint": o.endpoint}),
    "drift.list_reports": row("1 +++++ +++++ 44444 4", lambda o: {"endpoint": o.endpoint}),
    "drift.set_champion": row("1 +++33 +++33 44433 4", lambda o: {**champion(o), "since": 0}),
    "drift.evaluate": row("1 +++33 +++33 44433 4", lambda o: {"endpoint": o.endpoint, "labelled": 0}),
    "drift.answer_alerts": row("1 +++33 +++33 44433 4", lambda o: {"endpoint": o.endpoint, "labelled": 7, "answer": "seen"}),
    "drift.delete_monitor": row("1 +++33 +++33 44433 4", lambda o: {"endpoint": o.spare}, fresh="monitor"),
    # ---- the runtime's other parts: of the whole workspace ------------------------------------------------------------------------------
    "jobs.list": row("1 +++++ 33333 ..... ."),
    "jobs.get": row("1 +++++ 33333 33333 4", lambda o: {"id": o.job}),
    "jobs.explain": row("1 +++++ 33333 33333 4", lambda o: {"id": o.job}),
    "jobs.cancel": row("1 +3+33 33333 33333 4", lambda o: {"id": o.job}),
    "jobs.redrive": row("1 +3+33 33333 33333 4", lambda o: {"id": o.job}),
    "jobs.enqueue": row("1 +3+33 33333 ..... .", lambda o: {"name": "training.run"}),
    "schedules.list": row("1 +++++ 33333 ..... ."),
    "events.list": row("1 +++++ 33333 ..... ."),
    "events.stream": row("1 +++++ 33333 ..... ."),
    "events.dead": row("1 +++++ 33333 ..... ."),
    "events.drop": row("1 +3+33 33333 33333 4", lambda o: {"id": o.dead}, fresh="dead"),
    "events.redrive": row("1 +3+33 33333 33333 4", lambda o: {"id": o.dead}, fresh="dead"),
    "plugins.list": row("1 +++++ 33333 ..... ."),
    "secrets.status": row("1 +++++ 33333 ..... ."),
    # ---- secrets: of the workspace, in no project -----------------------------------------------------------------------------------
    "secrets.list": row("1 +++++ 33333 ..... ."),
    "secrets.get": row("1 +++++ 33333 ..... 4", lambda o: {"name": o.secret}, fresh="secret"),
    "secrets.put": row("1 +3333 33333 ..... .", lambda o: {"name": o.new("s"), "value": "x"}),
    "secrets.delete": row("1 +3333 33333 ..... 4", lambda o: {"name": o.secret}, fresh="secret"),
    "scripts.list": row("1 +++++ 33333 ..... ."),
    "server.alive": row(PUBLIC),
    "server.ready": row(PUBLIC),
    "server.metrics": row("1 +++++ 33333 ..... ."),
    "server.openapi": row(PUBLIC),
    "server.docs": row(PUBLIC),
}
