/* The words of the UAPI socket: values of its `key=value` lines and the path of the socket itself.
 *
 * One lexicon for both ends: the server (uapi_request, uapi_answer) and the control plane's client (src/backend).
 * Strict: no white space, no signs, no octal, nothing after the value. Parsers: 0, or -EINVAL; outputs untouched on
 * failure. The protocol is https://www.wireguard.com/xplatform/ and docs/uapi.md. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>

#include "base/buf.h"
#include "engine/engine.h"

#define UAPI_LINE_MAX 1024 /* without its newline; the longest line that means anything has about 130 */
#define UAPI_PATH_SIZE sizeof(((struct sockaddr_un *)0)->sun_path)
#define UAPI_DIRECTORY "/var/run/wireguard"
/* Names another directory for the sockets: so that tests and several gateways on one file system keep apart. wg(8)
 * looks at UAPI_DIRECTORY only. */
#define UAPI_DIRECTORY_VARIABLE "SALLYPORT_WG_DIR"

/* The directory of the sockets, without a slash at its end. */
const char *uapi_directory(void);
/* "/var/run/wireguard/wg0.sock". -EINVAL: not a name for an interface (1 to 15 of A-Z a-z 0-9 _ = + . -, as wg-quick(8)
 * takes them); -ENAMETOOLONG. */
int uapi_path(const char *interface_name, char ret_path[UAPI_PATH_SIZE]);

/* Cuts "key=value" in two, in place. -EINVAL: no '=', or nothing before it. */
int uapi_text_split(char *line, const char **ret_key, const char **ret_value);

int uapi_text_u64(const char *text, uint64_t most, uint64_t *ret_value);
int uapi_text_bool(const char *text, bool *ret_value);
/* As endpoint_parse(), and IPv6 with a scope: "[fe80::1%eth0]:51820", "[fe80::1%2]:51820". */
int uapi_text_endpoint(const char *text, union endpoint *ret_endpoint);
/* "10.0.0.9", or "10.0.0.9=10.100.0.2": both of one family. */
int uapi_text_hub_address(const char *text, struct engine_hub_address *ret_address);
/* 24 hexadecimal digits. */
int uapi_text_timestamp(const char *text, uint8_t ret_timestamp[MESSAGE_TIMESTAMP_SIZE]);

/* Each appends one whole line, newline included. */
void uapi_line_u64(struct buf *to, const char *key, uint64_t value);
void uapi_line_text(struct buf *to, const char *key, const char *value);
void uapi_line_key(struct buf *to, const char *key, const struct key *value);
void uapi_line_uuid(struct buf *to, const char *key, const struct uuid *value);
void uapi_line_prefix(struct buf *to, const char *key, const struct prefix *value);
void uapi_line_endpoint(struct buf *to, const char *key, const union endpoint *value);
void uapi_line_hub_address(struct buf *to, const char *key, const struct engine_hub_address *value);
void uapi_line_timestamp(struct buf *to, const char *key, const uint8_t value[MESSAGE_TIMESTAMP_SIZE]);
