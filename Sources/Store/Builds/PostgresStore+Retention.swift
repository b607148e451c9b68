public import Domain
import Postgres

extension PostgresStore: RetentionStore {
    public func unneededSlugs(_ rules: RetentionRules, limit: Int, now: Timestamp) async throws(PaaSError)
        -> [SlugDigest]
    {
        try await read { session in
            try session.rows(
                """
                select s.digest from slugs s where s.removed_at is null and \(Self.isUnneeded(rules, now))
                order by s.created_at, s.digest limit \(limit)
                """
            ).map { try $0.get("digest") }
        }
    }

    public func retireSlug(_ digest: SlugDigest, _ rules: RetentionRules, now: Timestamp) async throws(PaaSError)
        -> Int64?
    {
        try await write(now: now) { transaction in
            let session = transaction.session
            // Locked first: whoever refers to it at this moment is waited for, and what is asked next sees it. A release that
            // is being made waits for this in its turn.
            try session.run("select 1 from slugs where digest = \(digest) for update")
            let row = try session.first(
                """
                update slugs s set removed_at = \(now)
                where s.digest = \(digest) and s.removed_at is null and \(Self.isUnneeded(rules, now))
                returning image_bytes
                """)
            // The largest part of what is known about it goes with its files; how it was built stays.
            if row != nil { try session.run("update slug_evidence set bill = null where slug = \(digest)") }
            return try row?.get("image_bytes")
        }
    }

    public func slugsWithFile() async throws(PaaSError) -> Set<SlugDigest> { try await knownSlugs() }

    public func slugTotals() async throws(PaaSError) -> SlugTotals {
        try await read { session in
            let row = try session.one(
                "select count(*) as n, coalesce(sum(image_bytes), 0)::bigint as bytes from slugs where removed_at is null"
            )
            return SlugTotals(count: try row.get("n"), imageBytes: try row.get("bytes"))
        }
    }

    public func unneededPins(_ app: AppID, _ rules: RetentionRules, now: Timestamp) async throws(PaaSError) -> Set<
        BuildID
    > {
        let cutoff = now.adding(seconds: -Double(rules.graceSeconds))
        return try await read { session in
            Set(
                try session.rows(
                    """
                    select b.id from builds b join apps a on a.id = b.app_id
                    where b.app_id = \(app) and b.finished_at < \(cutoff)
                        and (b.state in ('failed', 'cancelled') or (b.state = 'succeeded'
                            and (b.ref_moved or b.source->>'kind' <> 'push' or exists (select 1 from releases r
                                where r.app_id = b.app_id and r.version = b.release
                                    and r.state in ('failed', 'superseded') and not r.was_current))
                            and b.number <= a.last_build - \(rules.releases)
                            and not exists (select 1 from releases r
                                where r.app_id = a.id and r.commit_id = b.source->>'commit'
                                    and \(Self.isKept(rules, cutoff)))))
                    """
                ).map { try $0.get("id", as: BuildID.self) })
        }
    }

    public func expiredLogs(_ rules: RetentionRules, now: Timestamp) async throws(PaaSError) -> Set<BuildID> {
        let cutoff = now.adding(seconds: -Double(rules.logDays) * 86_400)
        return try await read { session in
            Set(
                try session.rows(
                    """
                    select b.id from builds b join apps a on a.id = b.app_id
                    where b.finished_at is not null
                        and (b.finished_at < \(cutoff) or b.number <= a.last_build - \(rules.buildLogs))
                    """
                ).map { try $0.get("id", as: BuildID.self) })
        }
    }

    public func appsWithIdleCache(_ rules: RetentionRules, now: Timestamp) async throws(PaaSError) -> Set<AppID> {
        let cutoff = now.adding(seconds: -Double(rules.cacheDays) * 86_400)
        return try await read { session in
            Set(
                try session.rows(
                    """
                    select a.id from apps a where not exists (select 1 from builds b
                        where b.app_id = a.id and (b.state in ('queued', 'running') or b.finished_at >= \(cutoff)))
                    """
                ).map { try $0.get("id", as: AppID.self) })
        }
    }

    /// About a row `s` of `slugs`: no release that is kept and no build that is young, under way or among the newest has it.
    private static func isUnneeded(_ rules: RetentionRules, _ now: Timestamp) -> SQL {
        let cutoff = now.adding(seconds: -Double(rules.graceSeconds))
        return """
            s.created_at < \(cutoff)
            and not exists (select 1 from releases r join apps a on a.id = r.app_id
                where r.slug = s.digest and \(isKept(rules, cutoff)))
            and not exists (select 1 from builds b join apps a on a.id = b.app_id
                where b.slug = s.digest and (b.state in ('queued', 'running')
                    or (b.state = 'succeeded' and b.number > a.last_build - \(rules.releases))
                    or coalesce(b.finished_at, b.created_at) >= \(cutoff)))
            """
    }

    /// About a row `r` of `releases` and its app `a`: its slug and its commit are kept.
    private static func isKept(_ rules: RetentionRules, _ cutoff: Timestamp) -> SQL {
        """
        (r.state in ('pending', 'rolling', 'current') or r.version > a.last_release - \(rules.releases)
            or r.created_at >= \(cutoff) or r.version = a.current_release
            or r.version = (select max(p.version) from releases p
                where p.app_id = a.id and p.was_current and p.version < a.current_release)
            or exists (select 1 from instances i where i.app_id = r.app_id and i.release = r.version))
        """
    }
}
