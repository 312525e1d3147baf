// A real OpenID provider for test_oidc.py. POST /control changes how it behaves, also for the worse.
import http from 'node:http'
import { pathToFileURL } from 'node:url'

const modules = process.argv[2]
const load = (file) => import(pathToFileURL(`${modules}/${file}`))
const { Provider } = await load('oidc-provider/lib/index.js')
const jose = await load('jose/dist/node/esm/index.js')

const options = JSON.parse(process.argv[3]) // clients, people

// What a test asked for: `discovery` replaces members of the discovery document, `claims` and `header` those of ID tokens (null: takes
// it away), `signature` breaks it, `authorization` replaces what browsers bring back, `down` answers 503 to all.
let knobs = {}
let keys, provider, issuer, rotations = 0

async function makeKeys() {
  rotations += 1
  keys = []
  for (const alg of ['RS256', 'PS256', 'ES256', 'EdDSA']) {
    const { privateKey } = await jose.generateKeyPair(alg, { extractable: true })
    keys.push({ ...(await jose.exportJWK(privateKey)), alg, use: 'sig', kid: `${alg}-${rotations}` })
  }
}

function makeProvider() {
  provider = new Provider(issuer, {
    clients: options.clients,
    jwks: { keys },
    findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id, ...(options.people[id] ?? { preferred_username: id }) }) }),
    claims: { openid: ['sub', 'sid'], profile: ['preferred_username', 'name'], email: ['email', 'email_verified'], groups: ['groups'] },
    scopes: ['openid', 'offline_access', 'profile', 'email', 'groups'],
    conformIdTokenClaims: false, // ID tokens say everything, as those of most providers do
    pkce: { methods: ['S256'], required: () => false },
    enabledJWA: { idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256', 'EdDSA'] },
    features: {
      devInteractions: { enabled: true },
      deviceFlow: { enabled: true },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: { enabled: true },
    },
    cookies: { keys: ['for tests'] },
    httpOptions: (url) => ({ timeout: 5000 }),
  })
  provider.use(async (ctx, next) => {
    await next()
    if (knobs.discovery && ctx.path === '/.well-known/openid-configuration') Object.assign(ctx.body, knobs.discovery)
    if (ctx.body?.id_token && (knobs.claims || knobs.header || knobs.signature)) ctx.body.id_token = await forge(ctx.body.id_token)
    const to = ctx.status === 303 && ctx.response.get('Location')
    if (knobs.authorization && to && new URL(to, issuer).searchParams.has('code')) {
      const url = new URL(to)
      for (const [name, value] of Object.entries(knobs.authorization)) value === null ? url.searchParams.delete(name) : url.searchParams.set(name, value)
      ctx.redirect(url.href)
      ctx.status = 303
    }
  })
}

const without = (object) => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null))

async function forge(token) {
  const was = jose.decodeProtectedHeader(token)
  const header = without({ ...was, ...knobs.header })
  const claims = without({ ...jose.decodeJwt(token), ...knobs.claims })
  const key = await jose.importJWK(keys.find((k) => k.kid === was.kid), was.alg)
  const parts = [header, claims].map((part) => jose.base64url.encode(JSON.stringify(part)))
  if (header.alg === 'none') return `${parts.join('.')}.`
  if (header.alg === 'HS256') return new jose.SignJWT(claims).setProtectedHeader(header).sign(new TextEncoder().encode(options.clients[0].client_secret))
  const signed = await new jose.SignJWT(claims).setProtectedHeader({ ...header, alg: was.alg }).sign(key)
  const signature = signed.split('.')[2]
  if (header.alg !== was.alg) return `${parts.join('.')}.${signature}`
  if (knobs.signature) return `${parts.join('.')}.${signature.slice(0, 10)}${signature[10] === 'A' ? 'B' : 'A'}${signature.slice(11)}`
  return signed
}

async function control(request, response) {
  let body = ''
  for await (const block of request) body += block
  const asked = JSON.parse(body || '{}')
  if (asked.rotate) {
    await makeKeys()
    makeProvider()
  }
  if (asked.algorithm) {
    options.clients[0].id_token_signed_response_alg = asked.algorithm
    makeProvider()
  }
  if (asked.people) Object.assign(options.people, asked.people)
  if (asked.logout_token) { // any claims, signed as the provider signs
    const key = keys.find((k) => k.alg === 'RS256')
    const header = without({ alg: 'RS256', kid: key.kid, typ: 'logout+jwt', ...asked.header })
    response.end(await new jose.SignJWT(asked.logout_token).setProtectedHeader(header).sign(await jose.importJWK(key, 'RS256')))
    return
  }
  knobs = asked.knobs ?? {}
  response.end('{}')
}

const counts = {}
const server = http.createServer((request, response) => {
  const path = request.url.split('?')[0]
  if (path === '/control') return control(request, response).catch((error) => { response.statusCode = 500; response.end(String(error.stack)) })
  if (path === '/counts') return response.end(JSON.stringify(counts))
  counts[path] = (counts[path] ?? 0) + 1
  if (knobs.down) { response.statusCode = 503; return response.end() }
  return provider.callback()(request, response)
})

server.listen(Number(process.argv[4] ?? 0), '127.0.0.1', async () => {
  issuer = `http://127.0.0.1:${server.address().port}`
  await makeKeys()
  makeProvider()
  console.log(`ready at ${issuer}`)
})
