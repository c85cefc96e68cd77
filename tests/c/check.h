/* Counts checks: "N passed, N failed" at the end, and where each failure was. */
#ifndef CHECK_H
#define CHECK_H

#include <hotstuff.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Atomic int checks_passed, checks_failed; /* callbacks come from other threads */

static inline int check(int holds, const char *what, const char *file, int line)
{
    if (holds) {
        checks_passed++;
    } else {
        checks_failed++;
        printf("%s:%d: %s\n", file, line, what);
    }
    return holds;
}

static inline void expect(int32_t wanted, int32_t got, const char *what, const char *file, int line)
{
    if (!check(wanted == got, what, file, line))
        printf("    expected %s, got %s (%s)\n", hotstuff_status_name(wanted),
               hotstuff_status_name(got), hotstuff_status_message(got));
}

/** The condition holds. */
#define CHECK(condition) check((condition) != 0, #condition, __FILE__, __LINE__)
/** The call returns this status. */
#define EXPECT(wanted, call) expect((wanted), (call), #call, __FILE__, __LINE__)
/** The call succeeds. */
#define OK(call) EXPECT(HOTSTUFF_OK, call)

/** The call fails like this and describes it with a text that contains `words`. */
#define EXPECT_ERROR(wanted, words, err, call)                                                     \
    do {                                                                                           \
        EXPECT((wanted), (call));                                                                  \
        if (CHECK((err) != NULL)) {                                                                \
            EXPECT((wanted), hotstuff_error_status(err));                                          \
            if (!CHECK(strstr(hotstuff_error_message(err), (words)) != NULL))                      \
                printf("    the text is: %s\n", hotstuff_error_message(err));                      \
            hotstuff_error_free(err);                                                              \
            (err) = NULL;                                                                          \
        }                                                                                          \
    } while (0)

/** Prints the counts: what main returns. */
static inline int checks_done(const char *group)
{
    printf("%s: %d passed, %d failed\n", group, checks_passed, checks_failed);
    return checks_failed != 0;
}

#endif
