/* The configuration of sallyportd: defaults, then the file, then the environment.
 *
 * A plain value that owns its texts. Every key has one row in a table (config.c): section, name, how it is read, and
 * where it goes; SALLYPORT_<SECTION>_<KEY> in the environment overrides the file. Faults name file and line, or the
 * variable. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/log.h"
#include "model/desired.h"
#include "model/dial.h"
#include "model/prefix.h"

#define CONFIG_TEXT_SIZE 512
#define CONFIG_PREFIXES_MAX 32
#define CONFIG_DEFAULT_FILE "/etc/sallyport/sallyport.conf"

enum config_backend {
    CONFIG_BACKEND_AUTO,
    CONFIG_BACKEND_ENGINE,
    CONFIG_BACKEND_KERNEL,
};

/* "auto", "engine", "kernel". `ret_backend` may be NULL. 0, or -EINVAL. */
int config_backend_parse(const char *name, enum config_backend *ret_backend);

struct config_prefixes {
    struct prefix list[CONFIG_PREFIXES_MAX];
    size_t count;
};

struct config {
    /* [gateway] */
    char interface_name[16]; /* IFNAMSIZ */
    uint32_t listen_port;
    char endpoint[CONFIG_TEXT_SIZE];
    enum dial_family family;
    struct prefix pool;
    struct ip_addr hub_address;
    struct prefix ula;                   /* family 0: generated */
    struct config_prefixes lan_prefixes; /* where tenants' own tokens may place LANs; none: nowhere */
    uint32_t mtu;
    struct fwmark fwmark;
    char private_key_file[CONFIG_TEXT_SIZE];
    char name[64];   /* among the gateways of one database; "": the host's */
    char region[64]; /* for people */
    uint32_t database_grace_seconds;
    uint32_t clock_tolerance_seconds;
    /* [backend] */
    enum config_backend backend;
    char engine_path[CONFIG_TEXT_SIZE];
    uint32_t workers;
    char xdp[CONFIG_TEXT_SIZE]; /* interfaces; "": none */
    unsigned offloads_off;      /* backend_offload, or'ed */
    /* [store] */
    char store_url[2048]; /* may list servers and files of certificates */
    /* [api] */
    char socket[108]; /* sun_path */
    char socket_group[64];
    char listen[CONFIG_TEXT_SIZE];
    char tls_cert[CONFIG_TEXT_SIZE];
    char tls_key[CONFIG_TEXT_SIZE];
    uint32_t tenant_writes_per_second;
    uint32_t audit_days;
    bool insecure;
    /* [daemon] */
    char state_dir[CONFIG_TEXT_SIZE];
    enum log_level log_level;
    uint32_t reconcile_seconds;
    uint32_t usage_seconds;
    /* not a key */
    char vpn_mode[64]; /* VPN_MODE as found in the environment; it may name a backend */
};

/* Reads everything. `file` NULL: the default one, which may be missing. 0, or -errno with one line of text per fault in
 * `faults`. */
int config_load(const char *file, struct config *ret_config, struct buf *faults);
