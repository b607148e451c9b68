import Domain
import Glibc

/// What a program of ours reads about itself, once, at its start.
public enum ProgramEnvironment {
    /// All environment variables.
    public static func variables() -> [String: String] {
        var result: [String: String] = [:]
        var next = environ
        while let entry = next.pointee {
            let text = String(cString: entry)
            if let equals = text.firstIndex(of: "=") {
                result[String(text[..<equals])] = String(text[text.index(after: equals)...])
            }
            next += 1
        }
        return result
    }

    /// Path of the running program.
    public static func executablePath() throws(SystemError) -> String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = try Syscall.check("readlink /proc/self/exe") { readlink("/proc/self/exe", &buffer, 4095) }
        return String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

extension Settings {
    /// From the environment over the file that `PAAS_ENV_FILE` names, `/etc/paas/paas.env` by default. Directories are as the
    /// kernel names them, in its list of mounts for example, so that all programs and scripts of a platform agree on them.
    public static func load() throws(PaaSError) -> Settings {
        let environment = ProgramEnvironment.variables()
        let path = environment["PAAS_ENV_FILE"] ?? "/etc/paas/paas.env"
        let file: [UInt8]?
        do throws(SystemError) {
            file = try Files.read(path, limit: 1 << 20)
        } catch {
            throw PaaSError(.invalid, "\(path) can't be read", cause: error)
        }
        return try Settings(
            environment: environment, file: String(decoding: file ?? [], as: UTF8.self), canonical: Files.canonical)
    }
}
