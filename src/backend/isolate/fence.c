#include "backend/isolate/fence.h"

#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "bpf/isolate.h"
#include "model/problem.h"

#define MARK "\n\tcomment \"made by sallyport, which undoes changes\"\n"

struct fence {
    struct nft_ctx *nft;
    char interface_name[IF_NAMESIZE];
    char table[sizeof "sallyport_" + IF_NAMESIZE];
    char *shown; /* how the table is shown when it is right; NULL: we have not seen it so */
};

/* As nft(8) shows it, so that what we set can be compared with what is there. Before connection tracking (-200) and
 * before the first place an operator would pick (raw, -300). */
static const char table_text[] = "table inet %1$s {" MARK "\tchain prerouting {\n"
                                 "\t\ttype filter hook prerouting priority raw - 10; policy accept;\n"
                                 "\t\tiifname \"%2$s\" meta priority != %3$x:%4$x drop\n"
                                 "\t}\n"
                                 "\n"
                                 "\tchain postrouting {\n"
                                 "\t\ttype nat hook postrouting priority srcnat; policy accept;\n"
                                 "\t\tiifname \"%2$s\" oifname != \"%2$s\" masquerade\n"
                                 "\t}\n"
                                 "}\n";

/* Plain words for nft's grammar; nothing of a name can become a rule. */
bool fence_can_name(const char *name) {
    size_t length = strlen(name);
    for (size_t i = 0; i < length; i++) {
        if (!isalnum((unsigned char)name[i]) && !strchr("_-.", name[i])) {
            return false;
        }
    }
    return length > 0 && length < IF_NAMESIZE;
}

int fence_open(const char *interface_name, struct fence **ret_fence, struct problem *ret_problem) {
    if (!fence_can_name(interface_name)) {
        return problem_set(
            ret_problem, PROBLEM_INVALID, "bad-interface-name", "",
            "'%s' cannot be the interface's name: nftables takes letters, digits, '-', '_' and '.', at most "
            "%d of them.",
            interface_name, IF_NAMESIZE - 1);
    }
    struct fence *fence = calloc(1, sizeof *fence);
    if (!fence) {
        goto fail;
    }
    snprintf(fence->interface_name, sizeof fence->interface_name, "%s", interface_name);
    snprintf(fence->table, sizeof fence->table, "sallyport_%s", interface_name);
    fence->nft = nft_ctx_new(NFT_CTX_DEFAULT);
    if (!fence->nft || nft_ctx_buffer_output(fence->nft) || nft_ctx_buffer_error(fence->nft)) {
        goto fail;
    }
    *ret_fence = fence;
    return 0;

fail:
    fence_close(fence);
    problem_set(ret_problem, PROBLEM_INTERNAL, "no-memory", "", "Out of memory.");
    return -ENOMEM;
}

void fence_close(struct fence *fence) {
    if (!fence) {
        return;
    }
    if (fence->nft) {
        nft_ctx_free(fence->nft);
    }
    free(fence->shown);
    free(fence);
}

/* --- commands --- */

/* libnftables tells errors in words only. */
static int reason(const struct fence *fence) {
    const char *words = nft_ctx_get_error_buffer(fence->nft);
    if (strstr(words, "No such file or directory")) {
        return -ENOENT;
    }
    return strstr(words, "not permitted") ? -EPERM : strstr(words, "not supported") ? -EOPNOTSUPP : -EIO;
}

static int run(struct fence *fence, const char *command) {
    return nft_run_cmd_from_buffer(fence->nft, command) == 0 ? 0 : reason(fence);
}

static int show(struct fence *fence, const char **ret_text) {
    char command[sizeof fence->table + 32];
    snprintf(command, sizeof command, "list table inet %s", fence->table);
    int error = run(fence, command);
    if (error) {
        return error;
    }
    *ret_text = nft_ctx_get_output_buffer(fence->nft);
    return 0;
}

static int refuse(const struct fence *fence, int error, struct problem *problem) {
    const char *words = nft_ctx_get_error_buffer(fence->nft);
    problem_set(problem, PROBLEM_UNAVAILABLE, "no-fence", "",
                "The nftables table inet %s could not be set: %.*s. sallyportd needs CAP_NET_ADMIN, and a kernel with "
                "CONFIG_NF_TABLES_INET, CONFIG_NFT_NAT and CONFIG_NFT_MASQ.",
                fence->table, (int)strcspn(words, "\n"), words);
    return error;
}

static int refuse_foreign(const struct fence *fence, struct problem *problem) {
    return problem_set(
        problem, PROBLEM_CONFLICT, "foreign-table", "",
        "There is a nftables table inet %s that Sallyport did not make. If it is not needed: nft delete table "
        "inet %s; else choose another interface name.",
        fence->table, fence->table);
}

/* --- the table --- */

static int replace(struct fence *fence, const char *text) {
    struct buf command = {0};
    /* adding first makes sure that there is one to delete; all is one transaction */
    buf_printf(&command, "add table inet %s\ndelete table inet %s\n%s", fence->table, fence->table, text);
    int error = command.failed ? -ENOMEM : run(fence, command.data);
    buf_free(&command);
    return error;
}

static void remember(struct fence *fence) {
    const char *text;
    free(fence->shown);
    fence->shown = show(fence, &text) == 0 ? strdup(text) : NULL;
}

/* Another release of libnftables may show the same table in other words; then it is set once more and remembered. */
static bool is_right(const struct fence *fence, const char *shown, const char *text) {
    return strcmp(shown, fence->shown ? fence->shown : text) == 0;
}

int fence_set(struct fence *fence, unsigned *ret_touched, struct problem *ret_problem) {
    char text[sizeof table_text + 4 * IF_NAMESIZE + sizeof fence->table];
    const char *shown;
    snprintf(text, sizeof text, table_text, fence->table, fence->interface_name, ISOLATE_PASSED >> 16,
             ISOLATE_PASSED & 0xffff);
    int error = show(fence, &shown);
    if (error == 0 && is_right(fence, shown, text)) {
        return 0;
    }
    if (error == 0 && !strstr(shown, MARK)) {
        return refuse_foreign(fence, ret_problem);
    }
    if (error && error != -ENOENT) {
        return refuse(fence, error, ret_problem);
    }
    error = replace(fence, text);
    if (error) {
        return refuse(fence, error, ret_problem);
    }
    ++*ret_touched;
    remember(fence);
    return 0;
}

int fence_remove(struct fence *fence, struct problem *ret_problem) {
    char command[sizeof fence->table + 32];
    const char *shown;
    int error = show(fence, &shown);
    if (error == -ENOENT || (error == 0 && !strstr(shown, MARK))) {
        return 0;
    }
    snprintf(command, sizeof command, "delete table inet %s", fence->table);
    error = error ? error : run(fence, command);
    return error ? refuse(fence, error, ret_problem) : 0;
}
