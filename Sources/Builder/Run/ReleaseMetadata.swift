import Domain
import Yams

/// What a buildpack's `bin/release` says. Only `default_process_types` counts; all else is ignored.
struct ReleaseMetadata: Sendable, Equatable {
    static let maximumBytes = 64 << 10

    var defaultProcessTypes: [String: String] = [:]
    /// Entries that can't be used, in words for the build's output.
    var warnings: [String] = []

    /// Empty output, `---` and `--- {}` are all fine.
    /// - Throws: `appFailed` for what is no YAML mapping.
    init(_ bytes: [UInt8]) throws(PaaSError) {
        guard bytes.count <= Self.maximumBytes else {
            throw PaaSError(.appFailed, "the buildpack's bin/release printed more than \(Self.maximumBytes >> 10) KiB")
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw PaaSError(.appFailed, "the buildpack's bin/release printed bytes that are not UTF-8")
        }
        let root: Node?
        do { root = try Yams.compose(yaml: text) } catch {
            throw PaaSError(.appFailed, "the buildpack's bin/release printed something that is not YAML", cause: error)
        }
        guard let root, !Self.isNull(root) else { return }
        guard let mapping = root.mapping else {
            throw PaaSError(.appFailed, "the buildpack's bin/release must print a YAML mapping")
        }
        guard let types = mapping["default_process_types"], !Self.isNull(types) else { return }
        guard let entries = types.mapping else {
            throw PaaSError(.appFailed, "default_process_types of the buildpack's bin/release must be a mapping")
        }
        for (key, value) in entries.prefix(100) {
            let type = key.scalar?.string ?? ""
            do throws(PaaSError) {
                try Names.validateShort(type, "process type")
            } catch {
                warnings.append("The buildpack's default \(error.message)")
                continue
            }
            guard let command = value.scalar?.string, !command.isEmpty, !command.unicodeScalars.contains("\0") else {
                warnings.append("The buildpack's default process type \(type) has no command")
                continue
            }
            defaultProcessTypes[type] = command
        }
    }

    private static func isNull(_ node: Node) -> Bool {
        guard let scalar = node.scalar, scalar.style == .plain || scalar.style == .any else { return false }
        return scalar.string.isEmpty || scalar.string == "~" || scalar.string == "null"
    }
}
