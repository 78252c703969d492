#!/usr/bin/env python3
"""Turns openapi.json into a C array: checked to be JSON, compact, with the program's version in it."""

import json
import sys

source, target, version = sys.argv[1:]
with open(source, encoding="utf-8") as file:
    document = json.load(file)
document["info"]["version"] = version
text = json.dumps(document, ensure_ascii=True, separators=(",", ":")).encode()
with open(target, "w", encoding="ascii") as file:
    file.write('#include "api/openapi.h"\n\nconst char openapi_document[] = {')
    for at in range(0, len(text), 20):
        file.write("\n" + ",".join(f"0x{byte:02x}" for byte in text[at : at + 20]) + ",")
    file.write("\n};\nconst size_t openapi_document_size = sizeof openapi_document;\n")
