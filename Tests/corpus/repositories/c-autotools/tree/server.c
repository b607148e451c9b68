#include <arpa/inet.h>
#include <stdlib.h>
#include <unistd.h>

int main(void) {
    int one = 1, server = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(atoi(getenv("PORT")))};
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(server, (struct sockaddr *)&address, sizeof address) || listen(server, 16)) return 1;
    for (;;) {
        int client = accept(server, 0, 0);
        char byte;
        while (read(client, &byte, 1) == 1 && byte != '\n') continue;
        if (write(client, "hello from C\n", 13) != 13) return 2;
        close(client);
    }
}
