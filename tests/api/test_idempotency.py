"""The same request with the same Idempotency-Key is done once, whatever happens in between."""
import concurrent.futures
import signal
import sqlite3
import uuid

import pytest


def keyed(key):
    return {"Idempotency-Key": key}


def test_a_repeat_gets_the_same_answer_and_makes_nothing(api, tenant, name):
    headers = keyed(f"order {uuid.uuid4()}")
    path, body = f"/tenants/{tenant['id']}/routers", {"name": name()}
    first = api.with_headers("POST", path, body, headers)
    again = api.with_headers("POST", path, body, headers)
    assert first[2] == again[2] and first[0] == again[0] == 201
    assert first[2]["private_key"] == again[2]["private_key"]
    assert first[1]["Location"] == again[1]["Location"]
    assert "Idempotency-Replayed" not in first[1] and again[1]["Idempotency-Replayed"] == "true"
    assert api.get(f"/tenants/{tenant['id']}")["routers"] == 1


def test_bulk_and_tokens_too(api, name):
    headers = keyed(str(uuid.uuid4()))
    body = {"tenants": [{"name": name()}]}
    first, again = (api.post("/tenants/bulk", body, headers) for _ in range(2))
    assert first == again
    api.delete(f"/tenants/{first['items'][0]['tenant']['id']}")
    headers = keyed(str(uuid.uuid4()))
    first, again = (api.post("/tokens", {"name": "same", "scope": "metrics"}, headers) for _ in range(2))
    assert first == again
    api.delete(f"/tokens/{first['id']}")


def test_rotate_too(api, router):
    headers = keyed(str(uuid.uuid4()))
    first, again = (api.post(f"/routers/{router['id']}/rotate", None, headers) for _ in range(2))
    assert first == again
    assert api.get(f"/routers/{router['id']}")["public_key"] == first["public_key"]


@pytest.mark.parametrize("change", ["body", "path", "query"])
def test_another_request_with_the_key_is_refused(api, make_tenant, name, key, change):
    one, other = make_tenant(), make_tenant()
    headers = keyed(str(uuid.uuid4()))
    body = {"routers": [{"name": name(), "public_key": key()}]}
    path = f"/tenants/{one['id']}/routers/bulk"
    api.post(path, body, headers)
    if change == "body":
        body = {"routers": [{"name": name()}]}
    elif change == "path":
        path = f"/tenants/{other['id']}/routers/bulk"
    else:
        path += "?return=minimal"
    api.refused(422, "idempotency-key-reused", "POST", path, body, headers=headers)


def test_what_was_refused_may_be_tried_again(api, tenant, router, name, key):
    headers = keyed(str(uuid.uuid4()))
    path = f"/tenants/{tenant['id']}/routers"
    wish = {"name": name(), "public_key": router["public_key"]}
    api.refused(409, None, "POST", path, wish, headers=headers)
    api.delete(f"/routers/{router['id']}")
    assert api.post(path, wish, headers)["public_key"] == router["public_key"]


def test_keys_of_different_callers_do_not_meet(gateway, api, name):
    admin = api.post("/tokens", {"name": name(), "scope": "admin"})
    headers = keyed(str(uuid.uuid4()))
    made = [client.post("/tenants", {"name": name()}, headers) for client in (api, gateway.client(admin["token"]))]
    assert made[0]["id"] != made[1]["id"]
    for tenant in made:
        api.delete(f"/tenants/{tenant['id']}")
    api.delete(f"/tokens/{admin['id']}")


@pytest.mark.parametrize("wrong", ["x" * 129, "a\tb", "café".encode()])
def test_a_key_that_is_none_is_refused(api, wrong):
    api.refused(422, "invalid-idempotency-key", "POST", "/tenants", {"name": "x"}, field="Idempotency-Key",
                headers=keyed(wrong))


def test_racing_repeats_make_one_thing(gateway, api, tenant, name):
    headers = keyed(str(uuid.uuid4()))
    path, body = f"/tenants/{tenant['id']}/routers", {"name": name()}
    clients = [gateway.client() for _ in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda client: client.post(path, body, headers), clients))
    assert all(answer == made[0] for answer in made)
    assert api.get(f"/tenants/{tenant['id']}")["routers"] == 1


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_a_repeat_after_a_restart_gets_the_same_answer(make_gateway, name, ending):
    gateway = make_gateway()
    tenant = gateway.api.post("/tenants", {"name": name()})
    headers = keyed(str(uuid.uuid4()))
    path, body = f"/tenants/{tenant['id']}/routers", {"name": name()}
    first = gateway.api.post(path, body, headers)
    gateway.end(ending)
    gateway.start()
    again = gateway.api.with_headers("POST", path, body, headers)
    assert again[2] == first and again[1]["Idempotency-Replayed"] == "true"
    assert gateway.api.get(f"/tenants/{tenant['id']}")["routers"] == 1
    # and the kept answer cannot be read out of the files
    held = b"".join(file.read_bytes() for file in gateway.folder.glob("sallyport.db*"))
    assert first["private_key"].encode() not in held and headers["Idempotency-Key"].encode() not in held


def test_a_repeat_whose_answer_was_never_kept_makes_no_second_one(make_gateway, name, key):
    gateway = make_gateway()
    tenant = gateway.api.post("/tenants", {"name": name()})
    single, bulk = keyed(str(uuid.uuid4())), keyed(str(uuid.uuid4()))
    # of the first try it meets more than the id
    path, body = f"/tenants/{tenant['id']}/routers", {"name": name(), "public_key": key(), "lans": ["172.16.1.0/24"]}
    many = {"tenants": [{"name": name(), "routers": [{"name": name()}]}]}
    first = gateway.api.post(path, body, single)
    gateway.api.post("/tenants/bulk", many, bulk)
    # as if it had died between making them and keeping its answers
    gateway.end(signal.SIGKILL)
    with sqlite3.connect(gateway.folder / "sallyport.db") as database:
        assert database.execute("DELETE FROM vpn_answers").rowcount == 2
    gateway.start()
    problem = gateway.api.refused(409, "duplicate-id", "POST", path, body, headers=single)
    assert first["id"] in problem["detail"]
    again = gateway.api.post("/tenants/bulk", many, bulk)
    assert again["created"] == 0 and again["items"][0]["problem"]["type"].endswith(":duplicate-id")
    status = gateway.api.get("/status")
    assert (status["counts"]["tenants"], status["counts"]["routers"]) == (2, 2)


def test_a_repeat_whose_answer_was_never_kept_makes_no_second_token(make_gateway, name):
    gateway = make_gateway()
    headers, body = keyed(str(uuid.uuid4())), {"name": name(), "scope": "admin"}
    first = gateway.api.post("/tokens", body, headers)
    gateway.end(signal.SIGKILL)
    with sqlite3.connect(gateway.folder / "sallyport.db") as database:
        assert database.execute("DELETE FROM vpn_answers").rowcount == 1
    gateway.start()
    problem = gateway.api.refused(409, "duplicate-id", "POST", "/tokens", body, headers=headers)
    assert first["id"] in problem["detail"]
    assert [token["id"] for token in gateway.api.get("/tokens")["items"]] == [first["id"]]
    # whoever did get the first answer goes on with it; revoked, its text does not come back with the key
    assert gateway.client(first["token"]).get("/tokens")["items"]
    gateway.api.delete(f"/tokens/{first['id']}")
    again = gateway.api.post("/tokens", body, headers)
    assert again["token"] != first["token"]
    gateway.client(first["token"]).refused(401, None, "GET", "/tokens")
