#include "export/routeros.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#define TAG "comment=\"sallyport\""
#define TUNNELS "[/interface/wireguard/find where " TAG "]"
#define PEERS "[/interface/wireguard/peers/find where " TAG "]"
#define SCHEDULES "[/system/scheduler/find where " TAG "]"

/* A statement of its own, and in words that RouterOS 6 has too: it has no WireGuard and cannot read the rest. */
#define OLD_SYSTEM                                                                                                     \
    ":if ([:tonum [:pick [/system resource get version] 0 [:find [/system resource get version] \".\"]]] < 7) do={ "   \
    ":error \"Sallyport needs RouterOS 7: RouterOS 6 has no WireGuard.\" }\n"

/* Appends one character of a text in double quotes. What could mean something there, and every byte that is not ASCII,
 * is written by its number. */
static void put(struct buf *out, char c) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:;/=+-_@()[]";
    if (c && strchr(plain, c)) {
        buf_append(out, &c, 1);
    } else {
        buf_printf(out, "\\%02X", (unsigned char)c);
    }
}

static void quote(struct buf *out, const char *text) {
    buf_text(out, "\"");
    for (; *text; text++) {
        put(out, *text);
    }
    buf_text(out, "\"");
}

static void quote_key(struct buf *out, const struct key *key) {
    char text[KEY_BASE64_SIZE];
    quote(out, key_to_base64(key, text));
    sodium_memzero(text, sizeof text);
}

static void interface_format(const struct export_router *r, struct buf *out) {
    buf_text(out, ":if ([:len " TUNNELS "] = 0) do={ /interface/wireguard/add name=\"sallyport\" " TAG " }\n");
    if (r->private_key) {
        buf_text(out, "/interface/wireguard/set " TUNNELS " private-key=");
        quote_key(out, r->private_key);
        buf_text(out, "\n");
    }
    if (r->mtu) {
        buf_printf(out, "/interface/wireguard/set " TUNNELS " mtu=%u\n", r->mtu);
    }
    buf_text(out, ":local tunnel [/interface/wireguard/get " TUNNELS " name]\n");
}

static void peer_format(const struct export_router *r, struct buf *out) {
    char text[PREFIX_TEXT_SIZE];
    buf_text(out, ":if ([:len " PEERS "] = 0) do={ /interface/wireguard/peers/add "
                  "interface=$tunnel public-key=");
    quote_key(out, &r->gateway_key);
    buf_text(out, " " TAG " }\n/interface/wireguard/peers/set " PEERS " interface=$tunnel "
                  "public-key=");
    quote_key(out, &r->gateway_key);
    if (r->preshared_key) {
        buf_text(out, " preshared-key=");
        quote_key(out, r->preshared_key);
    } else if (!r->preshared_key_withheld) {
        buf_text(out, " preshared-key=\"\"");
    }
    buf_text(out, " endpoint-address=");
    quote(out, r->endpoint_host);
    buf_printf(out, " endpoint-port=%u persistent-keepalive=%us allowed-address=\"", r->endpoint_port, r->keepalive_s);
    for (size_t i = 0; i < r->allowed_count; i++) {
        buf_printf(out, "%s%s", i ? "," : "", prefix_format(&r->allowed[i], text));
    }
    buf_text(out, "\"\n");
}

static void address_format(const char *menu, const char *more, const struct ip_addr *address, struct buf *out) {
    char text[IP_TEXT_SIZE];
    ip_format(address, text);
    buf_printf(out,
               ":if ([:len [%s/find where " TAG "]] = 0) do={ %s/add interface=$tunnel address=\"%s/%u\"%s " TAG " }\n"
               "%s/set [%s/find where " TAG "] interface=$tunnel address=\"%s/%u\"\n",
               menu, menu, text, ip_bits(address), more, menu, menu, text, ip_bits(address));
}

/* Routes that are missing come, and then those that are no longer wanted go: a run that breaks off leaves no network
 * without the route it had. */
static void routes_format(const char *menu, sa_family_t family, const struct export_router *r, struct buf *out) {
    char text[PREFIX_TEXT_SIZE];
    buf_text(out, ":set wanted ");
    const char *separator = "{";
    for (size_t i = 0; i < r->allowed_count; i++) {
        if (r->allowed[i].addr.family == family) {
            buf_printf(out, "%s\"%s\"", separator, prefix_format(&r->allowed[i], text));
            separator = ";";
        }
    }
    buf_text(out, *separator == '{' ? "[:toarray \"\"]" : "}");
    buf_printf(out,
               "\n:foreach prefix in=$wanted do={ :if ([:len [%s/find where " TAG
               " and dst-address=$prefix]] = 0) do={ "
               "%s/add dst-address=$prefix gateway=$tunnel " TAG " } }\n"
               ":foreach route in=[%s/find where " TAG "] do={ :if ([:typeof [:find $wanted [:tostr [%s/get $route "
               "dst-address]]]] = \"nil\") do={ %s/remove $route } }\n",
               menu, menu, menu, menu, menu);
}

/* Runs every minute; its text stands within quotes itself. */
static void watch_format(const struct export_router *r, struct buf *out) {
    struct buf script = {0};
    buf_text(&script, ":local peer " PEERS "\n"
                      ":local seen [/interface/wireguard/peers/get $peer last-handshake]\n"
                      ":local silent true\n"
                      ":if ([:typeof $seen] = \"time\") do={ :if ($seen < 3m) do={ :set "
                      "silent false } }\n"
                      ":if ($silent) do={\n"
                      ":local now [:tostr [:resolve ");
    quote(&script, r->endpoint_host);
    buf_text(&script, "]]\n"
                      ":local used [:tostr [/interface/wireguard/peers/get $peer current-endpoint-address]]\n"
                      ":if ($now != $used) do={\n"
                      "/interface/wireguard/peers/disable $peer\n/interface/wireguard/peers/enable $peer\n}\n}\n");
    if (script.failed) {
        out->failed = true;
    } else {
        buf_text(out, ":if ([:len " SCHEDULES "] = 0) do={ /system/scheduler/add name=\"sallyport\" " TAG
                      " }\n/system/scheduler/set " SCHEDULES " interval=1m policy=read,write,test "
                      "on-event=");
        quote(out, script.data);
        buf_text(out, "\n");
    }
    buf_free(&script);
}

/* What an earlier script made, when routers were to have both families. */
static void family_drop(const char *menu, struct buf *out) {
    buf_printf(out,
               "%s/route/remove [%s/route/find where " TAG "]\n%s/address/remove [%s/address/find where " TAG "]\n",
               menu, menu, menu, menu);
}

/* Last, and within on-error: a router on which IPv6 is turned off has all the rest. */
static void ipv6_format(const struct export_router *r, struct buf *out) {
    buf_text(out, ":do {\n");
    if (r->address6.family) {
        address_format("/ipv6/address", " advertise=no", &r->address6, out);
        routes_format("/ipv6/route", AF_INET6, r, out);
        buf_text(out,
                 "} on-error={ :put \"IPv6 could not be set up on this router; IPv4 is. To leave it out: sallyport "
                 "router config --family ipv4\" }\n");
    } else {
        family_drop("/ipv6", out);
        buf_text(out, "} on-error={ }\n");
    }
}

static void key_format(const struct export_router *r, struct buf *out) {
    buf_text(out, ":local known [/interface/wireguard/get $tunnel public-key]\n:if ($known != ");
    quote_key(out, &r->public_key);
    buf_text(out,
             ") do={ :put (\"The key of this router is another one than the gateway knows. At the gateway: sallyport "
             "router rotate ROUTER --public-key \" . $known) }\n");
}

int routeros_format(const struct export_router *r, struct buf *out) {
    int error = export_router_check(r);
    if (error < 0) {
        return error;
    }
    buf_text(out, OLD_SYSTEM "{\n:put (\"Sallyport: \" . ");
    quote(out, r->router_name);
    buf_text(out, " . \" of \" . ");
    quote(out, r->tenant_name);
    buf_text(out, ")\n");
    interface_format(r, out);
    peer_format(r, out);
    buf_text(out, ":local wanted [:toarray \"\"]\n");
    if (r->address.family) {
        address_format("/ip/address", "", &r->address, out);
        routes_format("/ip/route", AF_INET, r, out);
    } else {
        family_drop("/ip", out);
    }
    if (!export_host_family(r->endpoint_host)) {
        watch_format(r, out);
    } else {
        buf_text(out, "/system/scheduler/remove " SCHEDULES "\n");
    }
    ipv6_format(r, out);
    if (!r->private_key) {
        key_format(r, out);
    }
    buf_text(out, "}\n");
    return out->failed ? -ENOMEM : 0;
}
