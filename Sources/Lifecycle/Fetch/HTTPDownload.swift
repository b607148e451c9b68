import Domain
import Glibc
import OS

/// Fetches one file over HTTP with curl, bounded in time and size.
struct HTTPDownload: Sendable {
    let url: FetchURL
    let environment: [String: String]
    let home: String
    var seconds = 300
    var bytes: Int64 = 512 << 20

    /// Writes it to `path`.
    func save(to path: String) throws(FetchFailure) {
        // Address and password come through stdin: arguments can be read by all.
        var lines = ["url = \(Self.quoted(url.withoutSecrets))"]
        if let user = url.user { lines.append("user = \(Self.quoted("\(user):\(url.password ?? "")"))") }
        var spec = ProcessSpec(
            "/usr/bin/curl",
            [
                "--config", "-", "--globoff", "--silent", "--show-error", "--fail", "--location", "--max-redirs", "8",
                "--proto", "=http,https", "--proto-redir", "=http,https", "--connect-timeout", "30", "--max-time",
                "\(seconds)",
                "--speed-limit", "1000", "--speed-time", "30", "--max-filesize", "\(bytes)", "--retry", "2",
                "--write-out", "%{http_code}", "--output", path,
            ])
        spec.environment = environment.merging(["PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": home, "LC_ALL": "C"]) {
            $1
        }
        // Servers that do not tell the size beforehand.
        spec.fileBytesLimit = bytes
        let result: Command.Result
        do throws(SystemError) {
            result = try Command(spec, timeoutSeconds: seconds + 10, outputLimit: 64 << 10).run(
                input: Array((lines.joined(separator: "\n") + "\n").utf8))
        } catch {
            throw error.isNoSpace ? .diskFull : .other("\(error)")
        }
        if result.timedOut { throw .timeout(seconds: seconds) }
        guard result.status == 0 else {
            throw .curl(
                result.status, http: Int(result.text) ?? 0, text: result.errorText, seconds: seconds, limit: bytes,
                secrets: url.secrets)
        }
    }

    /// As curl's configuration files quote.
    private static func quoted(_ text: String) -> String {
        var out = "\""
        for character in text {
            if character == "\"" || character == "\\" { out.append("\\") }
            out.append(character)
        }
        return out + "\""
    }
}
