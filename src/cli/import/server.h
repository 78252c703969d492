/* The peers of a WireGuard server become routers of a tenant: "sallyport import" of its file or of a live interface. */
#pragma once

#include <stdio.h>

#include "cli/cli.h"

/* `file` may be NULL with --interface; with it, it only names the interface's peers. */
enum cli_exit import_server(struct cli *cli, FILE *file, const char *file_name);
