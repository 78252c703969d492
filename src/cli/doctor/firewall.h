/* Whether the host's firewall lets through what a gateway needs: UDP to its port, and packets forwarded from and to its
 * interface. Works on nf_tables as backend/host/ruleset.h tells it, and on the entries of the legacy filter table as
 * the kernel hands them out (linux/netfilter_ipv4/ip_tables.h).
 *
 * A firewall is a program, and this follows it with the packets in question in mind. A rule may be about some of them
 * only (by their source, say): then the others decide, and if they are dropped where some may have been accepted, it
 * cannot be told. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct ruleset;

enum doctor_passage {
    DOCTOR_OPEN,    /* nothing in the way */
    DOCTOR_UNKNOWN, /* rules that cannot be read here */
    DOCTOR_CLOSED,
};

struct doctor_gate {
    enum doctor_passage passage;
    char family[8], table[128], chain[128]; /* the chain in the way */
};

/* Packets to UDP `port` of this host. */
void doctor_firewall_input(struct ruleset *ruleset, uint16_t port, struct doctor_gate *ret_gate);
/* Packets from and to an interface that are forwarded. Tables of our own, "sallyport_...", do not count. */
void doctor_firewall_forward(struct ruleset *ruleset, const char *interface_name, struct doctor_gate *ret_gate);

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
