import Domain
import Glibc
import OS

/// The authorities that a build trusts: the stack's own, and those that the operator names.
enum BuildCertificates {
    static let maximumBytes = 8 << 20
    private static let begin = Array("-----BEGIN CERTIFICATE-----".utf8)

    /// The stack's bundle with the operator's file behind it; nil if the operator names none.
    /// - Parameter stack: where the build's stack is mounted.
    /// - Throws: `invalid` saying what is wrong with the file.
    static func bundle(_ settings: Settings, stack: String) throws(PaaSError) -> [UInt8]? {
        guard let path = settings.reach.certificates else { return nil }
        let added = try read(path)
        do throws(SystemError) {
            let root = try OwnedFD.open(stack, O_RDONLY | O_DIRECTORY)
            let own = try FolderTree.open(root, Array(OutsideReach.bundle.dropFirst().utf8), O_RDONLY)
            return try own.readFully(maximumBytes) + [UInt8(ascii: "\n")] + added
        } catch {
            // A stack without authorities of its own.
            if error.errno == ENOENT { return added }
            throw error.asPaaSError("the certificates of the stack can't be read")
        }
    }

    /// What is wrong with the operator's file; nil: nothing, or there is none.
    static func problem(_ settings: Settings) -> String? {
        guard let path = settings.reach.certificates else { return nil }
        do throws(PaaSError) {
            _ = try read(path)
            return nil
        } catch {
            return error.message
        }
    }

    private static func read(_ path: String) throws(PaaSError) -> [UInt8] {
        func refused(_ what: String) -> PaaSError {
            PaaSError(
                .invalid, "PAAS_CA_CERTIFICATES names \(path), which \(what); the operator has to correct that",
                source: .platform)
        }
        let bytes: [UInt8]?
        do throws(SystemError) {
            bytes = try Files.read(path, limit: maximumBytes)
        } catch {
            throw refused("can't be read as a file of at most \(maximumBytes >> 20) MiB")
        }
        guard let bytes else { throw refused("is not there") }
        guard contains(bytes, begin) else { throw refused("holds no certificate in PEM") }
        // Builds see all of it.
        guard !contains(bytes, Array("PRIVATE KEY-----".utf8)) else { throw refused("holds a private key") }
        return bytes
    }

    private static func contains(_ bytes: [UInt8], _ word: [UInt8]) -> Bool {
        bytes.split(separator: UInt8(ascii: "\n")).contains { line in
            line.count >= word.count
                && (0...(line.count - word.count)).contains { line.dropFirst($0).starts(with: word) }
        }
    }
}
