// Made of script/*.lua by `deno task lua`: change those, and run it.

/** The program that a store runs in Redis, for any operation. */
export const SCRIPT: string =
  `local a,b,c,d=KEYS[1],KEYS[2],KEYS[3],KEYS[4]local e,f,g=ARGV[1],ARGV[4],redis.call
local h,i,j=tonumber(ARGV[5]),tonumber(ARGV[6]),tonumber(ARGV[7])local k=table.remove(ARGV)~=''local l=table.remove(ARGV)local m,n={f},e=='record'and ARGV[9]+0 or 0
for o=1,n do m[o]=ARGV[12*o-2]end
local p=math.floor(ARGV[3]~=''and ARGV[3]or ARGV[2])local function q(r,s)return{r and 1 or 0,s and 1 or 0,p,'='..table.concat(m,' '),'='..a}end
local function t(u)return type(u)=='number'and string.format('%.0f',u)or u or''end
local function v(w,u)local x=tonumber(u)if x and x%1==0 and x<9007199254740992 and x>-9007199254740992 then return x end
if u and u~=''then error('the field "'..w..'" of the circuit is invalid',0)end end
local function y(z,A)for o=1,#A,1000 do g('HDEL',z,unpack(A,o,math.min(o+999,#A)))end end
local function B(z)local C,D={},g('HGETALL',z)for o=1,#D,2 do C[D[o]]=D[o+1]end
return C,#D>0 end
local E,F,G=KEYS[#KEYS-1],KEYS[#KEYS],#KEYS~=4
local H=string.char(255)local I={}local function J(A,K,z)local L=redis.pcall(K and'ZADD'or'ZREM',A,unpack(K and{0,z}or{z}))I[A]=type(L)=='number'end
local function M(z,N,O)z=z:sub(#E-7,-7)if z==''or z>=H then return end
J(E,N,z)J(F,N and not O,z)end
local function P(Q)for A in pairs(I)do local R=I[A]and g('PTTL',A)or-2
if R~=-2 and R<Q then g('PEXPIRE',A,t(Q))end end end
if e=='page'then local A,S=KEYS[tonumber(ARGV[9])],H..ARGV[12]if ARGV[12]~=''and g('ZREM',E,S)+g('ZREM',F,S)==2 then for T,C in ipairs(KEYS)do g('ZREMRANGEBYLEX',C,'['..H,'+')J(C,true,'')end end
if not g('ZSCORE',A,'')then for T,U in ipairs(KEYS)do J(U,true,H..f)end
P(j)return q(false)end
local V=q(true)for T,z in ipairs(g('ZRANGEBYLEX',A,'('..ARGV[10],'('..H,'LIMIT',0,ARGV[11]))do V[#V+1]='='..z end
return V end
if e=='index'then for o=1,#KEYS-2 do local W=redis.pcall('HMGET',KEYS[o],'epoch','prefix','state','override','override.until')local N=not W.err and(W[1]or'')~=''and(W[2]or ARGV[8])==ARGV[8]local X=tonumber(W[5])M(KEYS[o],N,W[3]=='CLOSED'and((W[4]or'')==''or X and X<=p))end
P(j)return q(true)end
if e=='remove'then M(a)return q(g('DEL',a,b,c,d)>0)end
if e=='confirm'then g('HDEL',a,unpack(ARGV,9))return q(true)end
if ARGV[3]==''then local Y,Z=pcall(g,'TIME')if Y then p=Z[1]*1000+math.floor(Z[2]/1000)end end
local _,a0,a1,a2=B(a),{},{},false
local function a3(w,u)_[w]=t(u)a0[w],a2=_[w],true end
local function a4(w)_[w],a0[w],a2=nil,nil,true
a1[#a1+1]=w end
local function a5(w)return v(w,_[w])end
local function a6()return(_.override or'')~=''end
local function a7(w)return w:sub(1,6)=='lease:'end
if _.epoch==''then _.epoch=nil end
local a8=not _.epoch
if _.prefix and _.prefix~=ARGV[8]then return redis.error_reply('ERR the circuit belongs to a store with another prefix')end
for T,w in ipairs(a8 and{}or{'generation','since','began'})do v(w,_[w]or'?')end
if e=='record'and not G then local a9=a5('indexed')if a8 or not a9 or a9>p or p-a9>=math.min(j,864e5)/8 then return q(false,true)end end
local aa,ab,ac,ad,ae={'epoch','policyHash','cursor','outcomes','since','trial','ids','swept','halfOpen.successes','halfOpen.failures','totals.successes','totals.failures','totals.rejected','totals.slow','lastFailureAt','lastSuccessAt','traffic','traffic.before','sinceClosed.successes','sinceClosed.failures','sinceClosed.slow','consecutiveSuccesses','consecutiveFailures','start','newest.successes','newest.failures','newest.slow','floor','after','from','older.successes','older.failures','older.slow'},9,19,28,33
for o,af in ipairs(m)do aa[ae+o]='id:'..af end
local ag,ah,ai,aj,ak={},{},{},{},false
local W=g('HMGET',b,unpack(aa))if not a8 and W[1]==_.epoch then for o=1,ae do local u=W[o]or nil
if u and o>4 then u=v(aa[o],u)end
ah[o],ag[aa[o]]=u,u end
for o,af in ipairs(m)do local Y=v('id',W[ae+o])if Y and p-math.floor(Y/2)<60000 then ai[af]=Y%2==1 end end else W,ak={},W[1]end
local al=ag.policyHash
local function am(an)return ag[an]or 0 end
local function ao(an,x)if x~=0 then ag[an]=am(an)+x end end
local function ap(aq,ar,as,at)ao(aq..'.successes',ar)ao(aq..'.failures',as)ao(aq..'.slow',at)end
local function au(aq)return am(aq..'.successes'),am(aq..'.failures'),am(aq..'.slow')end
local function av(...)for T,an in ipairs({...})do ag[an]=nil end end
local function aw()if ag.since~=a5('since')then av('outcomes',unpack(aa,ac,ae))ag.since=a5('since')end
if ag.trial~=a5('generation')then av('halfOpen.successes','halfOpen.failures')ag.trial=a5('generation')end end
aw()local function ax(ay)ai[f],a2=ay,true
aj[#aj+1],aj[#aj+2]='id:'..f,t(p*2+(ay and 1 or 0))end
local az={'consecutiveFailures','consecutiveSuccesses','sinceClosed.failures','sinceClosed.successes','sinceClosed.slow','totals.failures','totals.successes','totals.rejected','totals.slow','halfOpen.successes','halfOpen.failures'}local function aA(aB,aC,aD,aE,aF,X,aG,aH)if l==''then return end
local aI,aJ={},{}for w,u in pairs(_)do local am,aK=w:match('^row:(%d+) %-?%d+ (.*)$')if am then local a9=tonumber(u:match('^%S+ %S+ %S+ %S+ (%S+)'))or 0
local aL,aM={a9,tonumber(am),aK,w},aJ[aK]aI[#aI+1]=aL
if not aM or a9<aM[1]or a9==aM[1]and aL[2]<aM[2]then aJ[aK]=aL end end end
if#aI>=64 then for T,aL in ipairs(aI)do local aM=aJ[aL[3]]aL[5]=('%020.0f%020.0f%s %020.0f'):format(aM[1],aM[2],aL[3],aL[2])end
table.sort(aI,function(aN,aO)return aN[5]<aO[5]end)local aP,aQ=aI[1][4],aI[2][4]local aR,aS=_[aQ]:match('^(%d+)(.*)$')a3(aQ,t((aR or 0)+1+(_[aP]:match('^%d+')or 0))..(aS or''))a4(aP)end
local aL={0,aB,_.state,aC or _.state,t(p),aF or'-',t(X or'-')}for T,an in ipairs(az)do aL[#aL+1]=t(am(an))end
aL[#aL+1]=aE or l
aG=t(aG or a5('generation')+1)aD=t(aD or p)a3('row:'..aG..' '..aD..' '..(aH or _.epoch),table.concat(aL,' '))end
local function aT(aG,aD,aU)a3('generation',aG)a3('began',aD)if aU then a3('since',aG)end
for w in pairs(_)do if a7(w)then a4(w)end end
aw()end
local function aV(aD,aU)aT(a5('generation')+1,aD,aU)end
local function aW(aH,aG,aD)return aH==_.epoch and tonumber(aG)==a5('generation')and tonumber(aD)==a5('began')end
local aX=false
local aY=f..'.'..t(p)local function aZ(aG)for w in pairs(_)do if w:sub(1,4)~='row:'and w~='expires'then a4(w)end end
ag,aX={},true
a3('epoch',aY)a3('state','CLOSED')a3('prefix',ARGV[8])aT(aG,p,true)end
local function a_(b0)if not ARGV[b0]then return end
for w in pairs(_)do if w:sub(1,7)=='policy.'then a4(w)end end
for o=b0,#ARGV,2 do a3(ARGV[o],ARGV[o+1])end end
local function b1(aD,aF,X,b2,b3)a3('override',aF)a3('override.until',X)a3('override.reason',b2)a3('override.actor',b3)aX=true
aV(aD,true)end
local b4={}local function b5()local X=a5('override.until')if a6()and X and X<=p then local b6='{"reason":"expired","actor":null,'..(l:match('"isolate":.*')or'}')aA('released',nil,X,b6,_.override)for w,u in pairs(_)do if w:sub(1,8)=='override'then b4['released'..w:sub(9)]=u end end
b1(X)end end
local function b7()return _.epoch..':'.._.since end
local b8={}local function b9(z,aQ,ba,x,at,bb)local C,bc=B(z)if C.of~=b7()then if ba and bc then g('DEL',z)end
C={}b8[z]=ba end
local bd,be,b0,bf={},{0,0},nil,{}local function bg(w,bh)if bh==0 then return end
C[w]=t((v(w,C[w])or 0)+bh)bd[#bd+1],bd[#bd+2]=w,C[w]end
local bi=ba and{[t(ba)]=x,['s'..t(ba)]=at}or{}for w,bh in pairs(bi)do if bb and C[w]then C[w],bf[#bf+1]=nil,w end
bg(w,bh)end
for w,bj in pairs(C)do local S,aD=w:match('^(s?)(%-?%d+)$')aD=tonumber(aD)if aD and(aD>aQ or aD==ba)then local o=#S+1
be[o]=be[o]+v(w,bj)b0=math.min(b0 or aD,aD)elseif aD then bf[#bf+1]=w end end
if ba and#bf>(bb and 0 or 20)then y(z,bf)end
if#bd>0 then g('HSET',z,'of',b7(),unpack(bd))end
return be[1],be[2],b0 end
local function bk(aQ,ba,ar,as,at)local bl,bm,bn=au('older')local bb=ba and ba<=aQ
local bo,T,b0,bp=bb or ag.after and ag.after>aQ,nil,nil,nil
if bo or bl+ar>0 then bl,T,b0=b9(d,aQ,ba,ar,0,bb)end
if bo or bm+bn+as+at>0 then bm,bn,bp=b9(c,aQ,ba,as,at,bb)end
if bb then aQ=ba-1
ag.floor=aQ end
ag['older.successes'],ag['older.failures'],ag['older.slow']=bl,bm,bn
ag.after,ag.from=aQ,b0 and bp and math.min(b0,bp)or b0 or bp end
local function bq(ar,as,at,br)local bs,bt,ba=math.ceil(h/10),p,ag.start
if not ba or br>0 or p>=ba+bs then bt=math.max(p,ba or p)ba=math.floor((bt-br)/bs)*bs
if ba<=bt-h then return end end
if ba~=ag.start then local bu=math.max(ag.floor or bt-h,bt-h)ag.floor=bu
if ag.start and ba<ag.start then return bk(bu,ba,ar,as,at)end
if ag.start and ag.start>bu then bk(bu,ag.start,au('newest'))else av('after','from','older.successes','older.failures','older.slow')end
av('newest.successes','newest.failures','newest.slow')ag.start=ba end
ap('newest',ar,as,at)end
local function bv()local ba=ag.start
local aQ=math.max(p,ba or p)-h
aQ=math.max(aQ,ag.floor or aQ)if not ba or ba<=aQ then return 0,0,0 end
if(ag.after or aQ)>aQ or(ag.from or p)<=aQ then bk(aQ,nil,0,0,0)end
local bl,bm,at=au('newest')return bl+am('older.successes'),bm+am('older.failures'),at+am('older.slow')end
local function bw(an,bx)local ah=ag[an]if not(ah and ah>bx and ah<=p)then ag[an]=bx end end
local function bj(ar,as,at,br,aM)ap('sinceClosed',ar,as,at)if ar>0 then ao('consecutiveSuccesses',ar)av('consecutiveFailures')bw('lastSuccessAt',p-aM)end
if as>0 then local by=math.max(0,p-(ag.lastSuccessAt or-1e15))if br<=by then ao('consecutiveFailures',aM>by and 1 or as)av('consecutiveSuccesses')end
bw('lastFailureAt',p-br)end
if _.state=='HALF_OPEN'then ap('halfOpen',ar,as,0)end
bq(ar,as,at,br)if i>0 then local bx=('S'):rep(math.min(ar,i))..('F'):rep(as)ag.outcomes=((ag.outcomes or'')..bx):sub(-i)end end
local bz=100
local function bA(w)local X,bs=(_[w]or''):match('^(%S+) (%S+)$')return v(w,X or _[w]),v(w,bs)end
local function bB(bC,bD,bE)local bF=0
for w in pairs(_)do if a7(w)then local X,bs=bA(w)if X<=p or bs>0 and X-p>2*bs then a4(w)elseif bs>0 then bF=bF+1 end end end
local w='lease:'..bC
local X,bs=bA(w)if X then return bs>0 end
if bF>=bD then return false end
a3(w,t(p+bE)..' '..t(bE))return true end
local function bG(bC)local X,bs=bA('lease:'..bC)if not X or bs==0 then return end
a3('lease:'..bC,t(X)..' 0')local bj,aM,bH=0,nil,nil
for w in pairs(_)do if a7(w)then X,bs=bA(w)if bs==0 then bj=bj+1
if not aM or X<bH then aM,bH=w,X end end end end
if bj>bz then a4(aM)end end
local bI=e=='acquire'for T,af in ipairs(m)do bI=bI or ai[af]==nil end
if bI and e~='read'and e~='dump'then b5()end
local r,s=true,false
local function bJ(bK,bL)r=_.epoch or bK
if not r then return end
if not _.epoch then aZ(1)end
if ai[f]==nil then ax(bL())end
r=ai[f]end
local bM={}local function bN()local bl,bm,at=bv()local A={r and 1 or 0,bl,bm,at,ag.outcomes or''}for o=ab,ad do local u=ag[aa[o]]A[#A+1]=u==ah[o]and W[o]or t(u)end
bM[#bM+1]=table.concat(A,' ')end
if e=='record'then for o=1,n do local aN=12*o-2
local aH,aG=ARGV[aN+1],tonumber(ARGV[aN+2])local ar,as,at=tonumber(ARGV[aN+4]),tonumber(ARGV[aN+5]),tonumber(ARGV[aN+7])f=m[o]bJ(true,function()local bO=aW(aH,aG,ARGV[aN+3])if aH==''then bO=aG==0 and a5('generation')==1 end
ap('totals',ar,as,at)ao('totals.rejected',tonumber(ARGV[aN+6]))if ARGV[aN+11]~=''then ag.policyHash=ARGV[aN+11]end
if bO and n==1 then a_(22)end
if bO and ar+as>0 then local br=math.max(0,math.floor(ARGV[aN+8]))bj(ar,as,at,br,math.max(br,math.floor(ARGV[aN+9])))end
bG(ARGV[aN+10])local bP=math.floor(p/1000)local bQ=bP-math.floor(am('traffic')/1e6)if bQ~=0 then ag['traffic.before'],ag.traffic=bQ==1 and am('traffic')%1e6 or nil,bP*1e6 end
ao('traffic',1)return bO end)bN()end elseif e=='acquire'and _.epoch then s=ai[f]or false
if a6()then r=_.override~='forced_open'elseif _.state~='CLOSED'then local R,bs=(a5('openUntil')or p)-p,a5('cooldownMs')local bR=bs and R>bs+math.max(bs,60000)if not s and _.state=='OPEN'and(R<=0 or bR)then aA('half_opened','HALF_OPEN')a3('state','HALF_OPEN')a3('reason','cooldown_passed')aV(p)s=true
ax(true)end
r=_.state=='HALF_OPEN'and bB(ARGV[9],tonumber(ARGV[10]),tonumber(ARGV[11]))end elseif e=='transition'then local aC,bS=ARGV[9],ARGV[14]~=''bJ(not bS,function()if bS and not aW(ARGV[13],ARGV[14],ARGV[15])then return false end
if ARGV[10]=='closed'and am('halfOpen.failures')>=tonumber(ARGV[17])then return false end
aA(ARGV[10],aC)if aC=='OPEN'then a3('reopenCount',_.state=='HALF_OPEN'and(a5('reopenCount')or 0)+1 or 0)a3('openedAt',p)a3('openUntil',p+ARGV[11])a3('cooldownMs',ARGV[11])a3('lastFailure',ARGV[16])else if _.state~='CLOSED'then a3('closedAt',p)end
a3('reopenCount',0)a3('openUntil')a3('cooldownMs')end
a_(18)a3('state',aC)a3('reason',ARGV[12])aV(p,aC=='CLOSED')return true end)elseif e=='override'then local aF,X=ARGV[9],tonumber(ARGV[10])bJ(aF~='',function()if aF==''and not a6()then return false end
X=X and math.floor(X-ARGV[2]+p)aA(aF==''and'released'or aF,nil,nil,nil,aF==''and _.override or aF,X)b1(p,aF,X,ARGV[11],ARGV[12])return true end)elseif e=='restore'then local ah=_.epoch
bJ(true,function()if ah and ARGV[9]=='keep'then return false end
local aG=math.max(a5('generation'),ARGV[10])+1
aA('imported',ARGV[13]:sub(2),nil,nil,nil,nil,aG,aY)aZ(aG)local function bT(u)local S=u:sub(1,1)if S=='='then return u:sub(2)end
return S=='@'and t(u:sub(2)-ARGV[2]+p)or u end
local aM,bU=12+2*ARGV[11],{}for T,an in ipairs(aa)do bU[an]=true end
for o=12,aM-1,2 do local w,u=ARGV[o],bT(ARGV[o+1])if bU[w]then ag[w]=w~='policyHash'and tonumber(u)or u else a3(w,u)end end
for o=aM,#ARGV,4 do if ag.start then bk(-1e15,ag.start,au('newest'))end
ag.start,ag['newest.successes']=tonumber(bT(ARGV[o])),tonumber(ARGV[o+1])ag['newest.failures'],ag['newest.slow']=tonumber(ARGV[o+2]),tonumber(ARGV[o+3])end
al=ag.policyHash
return true end)end
if _.epoch and not bM[1]then bN()end
if a2 then ag.epoch=_.epoch
if not a5('openedAt')and not a6()then j=math.min(j,864e5)end
local bV=math.max(p,a5('openUntil')or 0,a5('override.until')or 0)+j
local bW=bV>(a5('expires')or 0)if bW then a3('expires',bV+math.floor(j/8))end
if G then a3('indexed',p)end
y(a,a1)local bd,bf={},{}for w,u in pairs(a0)do bd[#bd+1],bd[#bd+2]=w,u end
if#bd>0 then g('HSET',a,unpack(bd))end
ao('ids',#aj/2)local bX=(ag.cursor or'0')~='0'if aj[1]and(bX or am('ids')>64 and math.abs(p-am('swept'))>=60000)then if not bX then ag.swept,ag.ids=p,nil end
local V=g('HSCAN',b,(ag.cursor or''):match('^%d+$')or 0,'COUNT',64+2*#aj)ag.cursor=V[1]for o=1,#V[2],2 do local w,bY=V[2][o],tonumber(V[2][o+1])or 0
if p-math.floor(bY/2)>=60000 and w:sub(1,3)=='id:'then bf[#bf+1]=w end end end
for o=1,ae do local an=aa[o]if ag[an]~=ah[o]then aj[#aj+1],aj[#aj+2]=an,t(ag[an])end end
b8[a],b8[b]=aX,not W[1]if ak then g('DEL',b)end
y(b,bf)if aj[1]then g('HSET',b,unpack(aj))end
if G then M(a,true,_.state=='CLOSED'and not a6())P(a5('expires')-p)end
for T,z in ipairs({a,b,c,d})do if z==a and a6()and not a5('override.until')then if aX then g('PERSIST',a)end elseif b8[z]or bW and not a8 then g('PEXPIRE',z,t(a5('expires')-p))end end end
local ay=q(r,s)local function bZ(C,ah,aI)for w,u in pairs(C)do local S=w:sub(1,4)if S=='row:'==(aI or false)and not(S=='leas'and u:sub(-2)==' 0')then ay[#ay+1],ay[#ay+2]=(ah or'')..w,'='..t(u)end end end
if _.epoch then ay[#ay+1]='='..table.concat(bM,';')bZ(_)bZ({policyHash=al or''})if e=='read'and ARGV[9]then for o,Y in ipairs(g('HMGET',b,unpack(ARGV,9)))do bZ({[ARGV[o+8]]=Y})end end
if e=='dump'then bZ(B(c),'failures:')bZ(B(d),'successes:')end
bZ(b4)if k then bZ(_,'',true)end end
return ay`;

/** Its SHA-1, by which Redis knows it. */
export const SCRIPT_SHA1: string = "352aba36bd716101917034ba9953bcd3b80f1d71";

/** The line by which Upstash locks only the keys that a script declares. Redis 7 refuses it. */
export const LOCKING = "#!lua flags=allow-key-locking\n";

/** The SHA-1 of the script behind that line. */
export const LOCKING_SHA1: string = "dfcb98961204392bf983fb6c4ea1d032fd9b5e5d";
