#include "model/dial.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "model/prefix.h"

#define DIGITS "0123456789"
#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" DIGITS "-_."

const char *const dial_families[] = {"both", "ipv4", "ipv6", NULL};

static const char *port_fault(const char *text, uint16_t *ret_port) {
    unsigned port = 0;
    if (!*text) {
        return "has no port behind the colon";
    }
    if (strlen(text) > 5 || strspn(text, DIGITS) != strlen(text) || sscanf(text, "%5u", &port) != 1 || port < 1 ||
        port > UINT16_MAX) {
        return "has no port from 1 to 65535 behind the colon";
    }
    *ret_port = (uint16_t)port;
    return NULL;
}

/* RFC 1123, and "_", which DNS allows. */
static const char *host_name_fault(const char *host) {
    struct ip_addr addr;
    if (!*host) {
        return "has no host";
    }
    if (strspn(host, NAME_CHARACTERS) != strlen(host)) {
        return "is neither a host name nor an address";
    }
    if (strspn(host, DIGITS ".") == strlen(host) && ip_parse(host, &addr) < 0) {
        return "is not an IPv4 address";
    }
    if (strchr("-.", *host) || strstr(host, "..") || strstr(host, ".-") || strstr(host, "-.")) {
        return "is not a host name: a part of it is empty, or begins or ends with \"-\"";
    }
    return NULL;
}

static const char *bracket_fault(const char *text, struct dial *dial) {
    const char *close = strchr(text, ']');
    struct ip_addr addr;
    if (!close) {
        return "has a bracket that is not closed; write [2001:db8::5] or [2001:db8::5]:51820";
    }
    snprintf(dial->host, sizeof dial->host, "%.*s", (int)(close - text - 1), text + 1);
    if (ip_parse(dial->host, &addr) < 0 || addr.family != AF_INET6) {
        return "has something else than an IPv6 address in brackets";
    }
    if (!close[1]) {
        return NULL;
    }
    return close[1] == ':' ? port_fault(close + 2, &dial->port) : "has something else than :PORT behind the bracket";
}

static const char *fault_of(const char *text, struct dial *dial) {
    const char *colon = strchr(text, ':');
    struct ip_addr addr;
    if (strlen(text) >= DIAL_HOST_SIZE) {
        return "is too long";
    }
    if (*text == '[') {
        return bracket_fault(text, dial);
    }
    if (colon && strchr(colon + 1, ':')) {
        snprintf(dial->host, sizeof dial->host, "%s", text);
        return ip_parse(text, &addr) == 0 ? NULL
                                          : "has several colons; with a port, an IPv6 address takes brackets: "
                                            "[2001:db8::5]:51820";
    }
    snprintf(dial->host, sizeof dial->host, "%.*s", (int)(colon ? colon - text : (int)strlen(text)), text);
    const char *fault = colon == text ? "has no host before the colon" : host_name_fault(dial->host);
    return fault || !colon ? fault : port_fault(colon + 1, &dial->port);
}

int dial_parse(const char *text, struct dial *ret_dial, const char **ret_fault) {
    struct dial dial = {0};
    const char *fault = fault_of(text, &dial);
    if (fault) {
        *ret_fault = fault;
        return -EINVAL;
    }
    *ret_dial = dial;
    return 0;
}
