import Domain
import Testing

@Suite struct SourceURLTests {
    @Test(arguments: [
        "https://git.example/a.git", "http://git.example:8080/a", "ssh://git@git.example:22/~/a.git",
        "git@git.example:team/a.git", "git.example:a", "https://[2001:db8::1]:8443/a",
    ]) func addressesOfRepositories(url: String) throws {
        try SourceURL.validateGit(url, field: "url")
        try BuildpackReference.validate(url + "#v1.0")
        #expect(SourceURL.withoutCredentials(url) == url)
    }

    @Test(arguments: [
        "https://u:p@git.example/a", "https://token@git.example/a", "ssh://u:p@git.example/a", "u:p@git.example:a",
        "https:u:p@git.example/a", "HTTPS://u:p@git.example/a",
    ]) func passwordsAreRefusedWithoutBeingRepeated(url: String) {
        let error = #expect(throws: PaaSError.self) { try SourceURL.validateGit(url, field: "url") }
        #expect(error?.message.contains("password") == true && error?.message.contains("p@") == false)
        #expect(throws: PaaSError.self) { try BuildpackReference.validate(url) }
    }

    @Test(arguments: [
        "", " ", "/srv/a", "file:///srv/a", "ext::sh", "-uhttps://x/y", "https://", "https://host", "https:///a",
        "ssh://-oX/a", "git@-oX:a", "a b:c", "https://h/a\n", "javascript://x/y", "https://h/a#b", "https://h/a?b",
        "é:a",
    ]) func othersAreRefused(url: String) {
        #expect(throws: PaaSError.self) { try SourceURL.validateGit(url, field: "url") }
    }

    @Test func credentialsAreTakenOutOfForeignText() {
        for (url, shown) in [
            ("https://u:p@h/a?x=1", "https://h/a"), ("https://t@h", "https://h"), ("u:p@h/a", "h/a"),
            ("ssh://git@h/a", "ssh://git@h/a"), ("ssh://git:p@h/a", "ssh://h/a"), ("git@h:a", "git@h:a"),
            ("https://h/a@b", "https://h/a@b"), ("plain", "plain"),
            ("https://h/a.tgz?sig=s3cret#v1", "https://h/a.tgz#v1"),
            ("https://h/a#v?1", "https://h/a#v?1"), ("h/a?t=s", "h/a"), ("https://h?t=s", "https://h"), ("", ""),
        ] {
            #expect(SourceURL.withoutCredentials(url) == shown)
        }
    }

    @Test func aBuildpackWithAQueryIsSentElsewhere() throws {
        for url in ["https://h/a.tgz?sig=s3cret", "https://h/a.tgz?sig=s3cret#v1", "git@h:a?s3cret"] {
            let error = #expect(throws: PaaSError.self) { try BuildpackReference.validate(url) }
            #expect(error?.message.contains("BUILDPACK_URL") == true && error?.message.contains("s3cret") == false)
        }
        try BuildpackReference.validate("https://h/a#v?1")
    }

    @Test func namesOfBuildpacks() throws {
        for name in ["python", "slipway/java-jar", "heroku/nodejs", "paketo-buildpacks/go"] {
            try BuildpackReference.validate(name)
        }
        for name in ["Python", "a/b/c", "a b", "-x", "../x", "a\u{0}", "/a", "a/"] {
            #expect(throws: PaaSError.self) { try BuildpackReference.validate(name) }
        }
        #expect(BuildpackReference.ownName("slipway/go") == "go" && BuildpackReference.ownName("go") == "go")
        #expect(BuildpackReference.ownName("heroku/go") == nil && BuildpackReference.ownName("https://h/go") == nil)
        #expect(BuildpackReference.folder("file:///srv/p#x") == "/srv/p" && BuildpackReference.folder("go") == nil)
    }
}
