"""Where benchmarks leave what they measured: bench.json, a flat object of names and numbers."""
import json


def merge(path, figures):
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known.update(figures)
    path.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", encoding="utf-8")
