"""`sallyport audit`: a table for people, lines for programs, a sheet for spreadsheets."""
import csv
import io
import json


def printed(cli, *arguments):
    done = cli(*arguments)
    assert done.status == 0, done
    return done.out


def test_audit_as_table_lines_and_sheet(cli, gateway):
    api = gateway.api
    tenant = api.post("/tenants", {"name": "=audited"})
    api.patch(f"/tenants/{tenant['id']}", {"name": "=audited twice"})
    table = printed(cli, "audit", "--tenant", tenant["id"])
    assert "TIME" in table and "tenant.updated" in table and '"=audited" -> "=audited twice"' in table and "uid:0" in table
    lines = [json.loads(line) for line in printed(cli, "audit", "--json", "--tenant", tenant["id"], "--since", "1h").splitlines()]
    assert [line["kind"] for line in lines] == ["tenant.updated", "tenant.created"]
    assert lines == [json.loads(line) for line in
                     printed(cli, "audit", "--format", "json", "--tenant", tenant["id"]).splitlines()]
    sheet = list(csv.DictReader(io.StringIO(printed(cli, "audit", "--format", "csv", "--tenant", tenant["id"],
                                                      "--kind", "tenant.created"))))
    assert [json.loads(row["after"])["name"] for row in sheet] == ["=audited"]
    assert printed(cli, "audit", "--json", "--actor", "token:nobody") == ""
    api.delete(f"/tenants/{tenant['id']}")
