/* The name that a comment gives a peer: in the forms of the panels and scripts that write servers' configurations, of
 * which each is a row in comment.c, or in words of somebody's own.
 *
 * What is no name stays out: dates, addresses of mail, JSON, settings that were commented out, headings, and above all
 * keys: some panels keep a router's private key in a comment. */
#pragma once

#include "model/tenant.h"

/* How sure it is that this is the name; of several comments the surest counts, of equally sure ones the last. */
enum comment_sureness {
    COMMENT_NO_NAME,
    COMMENT_ENDS,    /* ends the peer before it, or is a line across: no words above it belong to what follows */
    COMMENT_WORDS,   /* somebody's own words */
    COMMENT_KNOWN,   /* by one of the forms */
    COMMENT_DISPLAY, /* by one that says what people call it, beside another that says what programs do */
    COMMENT_FRIENDLY,
};

/* `comment` begins behind the first "#". `ret_name` is filled from COMMENT_WORDS on. */
enum comment_sureness comment_name(const char *comment, char ret_name[NAME_SIZE]);
