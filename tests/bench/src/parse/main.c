/* Reads the message in the file named first as often as the second argument says; prints nanoseconds for one time. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int main(int count, char **words)
{
    static char text[65536];
    struct timespec from, to;
    FILE *file = count == 3 ? fopen(words[1], "rb") : 0;
    unsigned length = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
    long turn, turns = count == 3 ? atol(words[2]) : 0;

    prepare();
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (turn = 0; turn < turns; turn++) {
        if (!once(text, length)) {
            fprintf(stderr, "the message was not understood\n");
            return 1;
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    printf("%f\n", ((to.tv_sec - from.tv_sec) * 1e9 + (to.tv_nsec - from.tv_nsec)) / (turns > 0 ? turns : 1));
    return 0;
}
