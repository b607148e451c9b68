import ArgumentParser
import Domain

struct Keys: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List, add and remove SSH keys for git.",
        discussion: "A key acts with the rights of the token that added it, and no longer than that token.",
        subcommands: [List.self, Add.self, Remove.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List your keys; an admin's list has everybody's.")
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let keys = try await connection.session().client().list("/api/v1/keys")
            if output.isJSON { return Console.print(json: .array(keys)) }
            if keys.isEmpty { return Console.note("No keys yet; add one with: paasctl keys add ~/.ssh/id_ed25519.pub") }
            Console.table(
                ["ID", "NAME", "TYPE", "FINGERPRINT", "ADDED"],
                keys.map {
                    [$0.text("id"), $0.text("name"), $0.text("type"), $0.text("fingerprint"), $0.text("createdAt")]
                })
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Add a public key (a .pub file).")
        @Argument(help: "The file, as in ~/.ssh/id_ed25519.pub; - for standard input.") var file: String
        @Option(help: "What to call it. Default: the comment in the file.") var name: String?
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let limit = SSHPublicKey.maximumBytes
            let bytes =
                file == "-"
                ? try StandardInput.readAll(name: "standard input", limit: limit)
                : try StandardInput.readFile(file, limit: limit)
            let text = String(decoding: bytes, as: UTF8.self)
            // Here already, so that a private key does not leave this machine.
            let key: SSHPublicKey
            do throws(PaaSError) { key = try SSHPublicKey(text) } catch {
                throw Failure("\(file): \(text.contains("PRIVATE KEY") ? Self.privateKey : error.message)")
            }
            var members: [JSONValue.Member] = [.init("key", .string("\(key.line) \(key.comment)"))]
            if let name { members.append(.init("name", .string(name))) }
            let made = try await connection.session().client().send(
                .post, "/api/v1/keys", body: .object(members)
            ).json
            if output.isJSON { return Console.print(json: made) }
            Console.note("Adding key \(made.text("fingerprint"))... done")
            Console.print(made.text("id"))
        }

        private static let privateKey =
            "this is a private key, which nobody but you may have; it was not sent. Add the public one, in the .pub file beside it"
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove a key: it opens nothing any more.")
        @Argument(help: "As 'paasctl keys' lists it.") var id: String
        @OptionGroup var connection: ConnectionOptions

        func run() async throws {
            _ = try await connection.session().client().send(.delete, "/api/v1/keys/\(URLText.encode(id))")
            Console.note("Removing key \(id)... done")
        }
    }
}
