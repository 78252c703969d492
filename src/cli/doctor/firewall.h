/* Whether the host's firewall lets through what a gateway needs: UDP to its port, and packets forwarded from and to its
 * interface. Pure but for doctor_legacy_read(): works on a ruleset as libnftables prints it (libnftables-json(5)), and
 * on the entries of the legacy filter table as the kernel hands them out (linux/netfilter_ipv4/ip_tables.h).
 *
 * A firewall is a program, and this does not run it: it says what is certain (nothing drops; dropped by default and no
 * rule names the port) and otherwise that it cannot tell. */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

enum doctor_passage {
    DOCTOR_OPEN,    /* nothing in the way */
    DOCTOR_UNKNOWN, /* rules that cannot be read here */
    DOCTOR_CLOSED,
};

struct doctor_gate {
    enum doctor_passage passage;
    char family[8], table[64], chain[64]; /* the chain in the way */
};

/* Packets to UDP `port` of this host. */
void doctor_firewall_input(const json_t *ruleset, uint16_t port, struct doctor_gate *ret_gate);
/* Packets from and to an interface that are forwarded. Tables of our own, "sallyport_...", do not count. */
void doctor_firewall_forward(const json_t *ruleset, const char *interface_name, struct doctor_gate *ret_gate);

/* --- iptables-legacy (IPv4) --- */

struct doctor_legacy {
    uint32_t input, forward;               /* offsets of the chains' first entries */
    uint32_t input_policy, forward_policy; /* and of the entries that are their policies */
    uint32_t size;
    _Alignas(8) unsigned char entries[]; /* as the kernel lays them out, each a struct ipt_entry first */
};

/* Needs CAP_NET_ADMIN. -ENOENT: the legacy filter table is not in use. free() it. */
int doctor_legacy_read(struct doctor_legacy **ret_legacy);
enum doctor_passage doctor_legacy_input(const struct doctor_legacy *legacy, uint16_t port);
enum doctor_passage doctor_legacy_forward(const struct doctor_legacy *legacy, const char *interface_name);
