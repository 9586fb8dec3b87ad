/* tests/runtime/sanitizer.h -- which sanitizer a test is built with: some things cannot be tried under one. */
#ifndef MIEN_TEST_SANITIZER_H
#define MIEN_TEST_SANITIZER_H

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MIEN_TEST_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define MIEN_TEST_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define MIEN_TEST_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define MIEN_TEST_TSAN 1
#endif
#ifndef MIEN_TEST_ASAN
#define MIEN_TEST_ASAN 0
#endif
#ifndef MIEN_TEST_TSAN
#define MIEN_TEST_TSAN 0
#endif

#endif
