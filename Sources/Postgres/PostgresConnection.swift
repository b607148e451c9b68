import CLibPQ
import Glibc

/// Owns one libpq connection and closes it. Every call blocks; confined to one thread.
final class PostgresConnection {
    private let handle: OpaquePointer
    private let statementTimeout: Int
    private var broken = false

    /// Connects. Blocks for at most the connect timeout for each address of the host.
    init(_ configuration: PostgresConfiguration) throws(PostgresError) {
        try configuration.validate()
        // Later entries win, so that what the connection string says beats these defaults.
        let keys = [
            "connect_timeout", "application_name", "client_encoding", "keepalives_idle", "keepalives_interval",
            "keepalives_count", "tcp_user_timeout", "dbname",
        ]
        let values = [
            "\(max(2, configuration.connectTimeoutSeconds))", configuration.applicationName, "UTF8", "10", "5", "3",
            "20000", configuration.connection,
        ]
        let cKeys = keys.map { UnsafePointer(strdup($0)) } + [nil]
        let cValues = values.map { UnsafePointer(strdup($0)) } + [nil]
        defer { for pointer in cKeys + cValues { free(UnsafeMutablePointer(mutating: pointer)) } }
        guard let handle = PQconnectdbParams(cKeys, cValues, 1) else {
            throw PostgresError(.connection, "out of memory")
        }
        self.handle = handle
        statementTimeout = configuration.statementTimeoutSeconds
        guard PQstatus(handle) == CONNECTION_OK else {
            let message = PQerrorMessage(handle).map { String(cString: $0) } ?? ""
            throw PostgresError(.connection, Self.oneLine(message))
        }
        // Notices go nowhere: libpq would print them on stderr.
        PQsetNoticeProcessor(handle, { _, _ in }, nil)
        let timeout = "\(statementTimeout * 1000)"
        _ = try run(
            """
            select set_config('statement_timeout', \(timeout), false), set_config('lock_timeout', \(timeout), false),
                set_config('idle_in_transaction_session_timeout', '60000', false),
                set_config('TimeZone', 'UTC', false), set_config('synchronous_commit', 'on', false)
            """)
    }

    deinit { PQfinish(handle) }

    var isUsable: Bool { !broken && PQstatus(handle) == CONNECTION_OK }
    var isIdle: Bool { PQtransactionStatus(handle) == PQTRANS_IDLE }
    var socket: Int32 { PQsocket(handle) }

    /// Runs one statement with bound values. The answer must come within the statement timeout and some slack, or the
    /// connection counts as broken.
    func run(_ sql: SQL, unlimited: Bool = false) throws(PostgresError) -> PostgresResult {
        guard !sql.text.utf8.contains(0) else { throw PostgresError(.argument, "a NUL byte in a statement") }
        let encoded = sql.values.map { $0.encoded() }
        var buffer: [UInt8] = [0]
        var offsets: [Int?] = []
        for value in encoded {
            guard let bytes = value.bytes else {
                offsets.append(nil)
                continue
            }
            guard bytes.count < Int(Int32.max) / 2 else { throw PostgresError(.argument, "a value is too large") }
            offsets.append(buffer.count)
            buffer += bytes
        }
        let types = encoded.map { Oid($0.oid) }
        let lengths = encoded.map { Int32($0.bytes?.count ?? 0) }
        let formats = [Int32](repeating: 1, count: encoded.count)
        let sent = buffer.withUnsafeBytes { raw in
            let base = raw.baseAddress
            let pointers = offsets.map { offset in
                offset.flatMap { base?.advanced(by: $0).assumingMemoryBound(to: CChar.self) }
            }
            return PQsendQueryParams(handle, sql.text, Int32(encoded.count), types, pointers, lengths, formats, 1)
        }
        guard sent == 1 else { throw lost() }
        return try result(unlimited: unlimited)
    }

    /// Runs statements of ours without values, separated by semicolons.
    func run(script: String) throws(PostgresError) {
        guard PQsendQuery(handle, script) == 1 else { throw lost() }
        _ = try result(unlimited: true)
    }

    /// Waits until the server sends something, `wake` can be read, or the time is over; then reads what is there.
    /// - Throws: `connection` when it is lost.
    func waitForInput(wake: Int32, timeoutMilliseconds: Int32) throws(PostgresError) {
        var descriptors = [
            pollfd(fd: socket, events: Int16(POLLIN), revents: 0), pollfd(fd: wake, events: Int16(POLLIN), revents: 0),
        ]
        let count = poll(&descriptors, 2, timeoutMilliseconds)
        if count < 0 && errno != EINTR { throw lost() }
        if descriptors[0].revents != 0, PQconsumeInput(handle) == 0 { throw lost() }
    }

    /// Notifications received so far.
    func takeNotifications() -> [String] {
        var payloads: [String] = []
        while let note = PQnotifies(handle) {
            payloads.append(note.pointee.extra.map { String(cString: $0) } ?? "")
            PQfreemem(note)
        }
        return payloads
    }

    /// Reads all results of what was sent; answers with the last, or the first error.
    private func result(unlimited: Bool) throws(PostgresError) -> PostgresResult {
        let deadline = unlimited ? Int64.max : Self.milliseconds() + Int64(statementTimeout + 5) * 1000
        var last: OpaquePointer?
        var failure: PostgresError?
        while true {
            while PQisBusy(handle) == 1 {
                var descriptor = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
                let remaining = min(deadline - Self.milliseconds(), 60_000)
                guard remaining > 0 else {
                    PQclear(last)
                    throw lost("no answer in time")
                }
                let count = poll(&descriptor, 1, Int32(remaining))
                if count < 0 && errno != EINTR || count > 0 && PQconsumeInput(handle) == 0 {
                    PQclear(last)
                    throw lost()
                }
            }
            guard let next = PQgetResult(handle) else { break }
            let status = PQresultStatus(next)
            if status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY {
                PQclear(last)
                last = next
            } else {
                if failure == nil { failure = Self.error(of: next) }
                PQclear(next)
            }
        }
        if let failure {
            PQclear(last)
            if PQstatus(handle) != CONNECTION_OK { throw lost(failure.note) }
            throw failure
        }
        guard let last else { throw lost() }
        return PostgresResult(adopting: last)
    }

    private func lost(_ note: String = "the connection broke") -> PostgresError {
        broken = true
        return PostgresError(.connection, note)
    }

    private static func error(of result: OpaquePointer) -> PostgresError {
        func field(_ code: Character) -> String? {
            PQresultErrorField(result, Int32(code.asciiValue ?? 0)).map { String(cString: $0) }
        }
        let sqlState = field("C")
        let quotes = sqlState.map(PostgresError.mayQuoteData) ?? false
        return PostgresError(
            .server, quotes ? "" : oneLine(field("M") ?? ""), sqlState: sqlState, constraint: field("n"))
    }

    private static func oneLine(_ text: String) -> String {
        text.split(whereSeparator: \.isNewline).joined(separator: "; ")
    }

    private static func milliseconds() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}
