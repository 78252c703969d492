/* The OpenAPI document of openapi.json, as embedded by embed.py when the program is built. */
#pragma once

#include <stddef.h>

extern const char openapi_document[];
extern const size_t openapi_document_size;
