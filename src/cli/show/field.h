/* Reading the API's JSON, tolerant of what is missing; and values as people read them. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A member by name, or by a path with dots ("gateway.endpoint"). Missing or null: "", 0, false. */
const char *field_text(const json_t *object, const char *path);
int64_t field_number(const json_t *object, const char *path);
bool field_flag(const json_t *object, const char *path);
const json_t *field_at(const json_t *object, const char *path);

#define FIELD_TEXT_SIZE 48

/* "0 B", "1.50 KiB", "12.3 GiB" */
char *field_bytes(uint64_t bytes, char text[FIELD_TEXT_SIZE]);
/* "0", "950 bit/s", "12.4 Mbit/s" */
char *field_rate(double bits_per_second, char text[FIELD_TEXT_SIZE]);
/* "12,345" */
char *field_count(int64_t number, char text[FIELD_TEXT_SIZE]);
/* "now", "12 s ago", "3 min ago", "2 h ago", "5 d ago" from an API time; "never" for "". */
char *field_ago(const char *time, int64_t now_us, char text[FIELD_TEXT_SIZE]);
/* "12 s", "3 min 20 s", "2 h 5 min", "5 d 3 h" */
char *field_duration(int64_t seconds, char text[FIELD_TEXT_SIZE]);

/* "100M", "2.5G", "64k", "1000": decimal suffixes k, M, G, T in either case. 0, or -EINVAL. */
int field_scaled_parse(const char *text, uint64_t *ret_number);
/* "90s", "15m", "12h", "30d", "2w". 0, or -EINVAL. */
int field_duration_parse(const char *text, int64_t *ret_seconds);
