/* Whether this is a build under AddressSanitizer or ThreadSanitizer, where everything takes many times as long: tests
 * that go through a whole range go through less of it then. */
#pragma once

#include <stdbool.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif
