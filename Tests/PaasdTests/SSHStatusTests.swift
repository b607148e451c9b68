import Testing

@testable import paasd

@Suite struct SSHStatusTests {
    /// As the kernel writes it: 127.0.0.1:7022 of user 998 listens, :7023 of the same user is connected.
    private let table = """
          sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
           0: 0100007F:1B6E 00000000:0000 0A 00000000:00000000 00:00000000 00000000   998        0 4711 1 0000000000000000 100 0 0 10 0
           1: 0100007F:1B6F 0100007F:D431 01 00000000:00000000 00:00000000 00000000   998        0 4712 1 0000000000000000 20 4 30 10 -1
        """

    @Test func onlyAListenerOfOurOwnUserCounts() {
        #expect(SSHStatus.listens(table, port: 7022, user: 998))
        #expect(!SSHStatus.listens(table, port: 7022, user: 0), "another program holds the port")
        #expect(!SSHStatus.listens(table, port: 7023, user: 998), "a connection")
        #expect(!SSHStatus.listens(table, port: 22, user: 998))
        #expect(!SSHStatus.listens("", port: 7022, user: 998))
    }
}
